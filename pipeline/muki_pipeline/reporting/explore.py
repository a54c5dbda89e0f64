"""The part of the report that one can search: a sample of the texts, who taught each, and what every teacher answered.

The texts lie in the page as JSON; a script builds what is shown with `textContent`, so no text is ever read as HTML.
"""

import json
from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np

from muki_pipeline.config import Params
from muki_pipeline.labels.tables import open_labelled_corpus
from muki_pipeline.layout import Layout, open_golden
from muki_pipeline.routing.confidence import softmax
from muki_pipeline.store.columns import matrix
from muki_pipeline.supervision.strategies import MARGIN_FLOOR

SAMPLE = 2_000
"""Texts in the page: half of them those of least margin, half spread evenly over the corpus."""
_SHOWN = 400

STYLE = """
.filters { display: flex; flex-wrap: wrap; gap: .8rem 1.2rem; align-items: end; }
.filters label { display: grid; gap: .2rem; } .filters input, .filters select { font: inherit; max-width: 16rem; }
#texts summary { cursor: pointer; } #texts .by { opacity: .7; }
"""

_SCRIPT = """
const data = JSON.parse(document.getElementById("data").textContent);
const field = name => document.getElementById(name);
const names = ["search", "teacher", "label", "margin"];
const element = (tag, text, parent) => {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  parent.append(made);
  return made;
};
const options = (name, values) => {
  element("option", "all", field(name)).value = "";
  values.forEach(value => { element("option", value, field(name)).value = value; });
};
options("teacher", data.teachers);
options("label", data.labels);
const show = () => {
  const wanted = Object.fromEntries(names.map(name => [name, field(name).value]));
  const words = wanted.search.toLowerCase();
  const found = data.texts.filter(each =>
    (!words || each.text.toLowerCase().includes(words)) &&
    (!wanted.teacher || each.teacher === wanted.teacher) &&
    (!wanted.label || each.label === wanted.label) && each.margin <= Number(wanted.margin));
  field("count").textContent = `${found.length} of ${data.texts.length} texts` +
    (found.length > 100 ? ", the first 100 of them below" : "");
  field("texts").replaceChildren();
  for (const each of found.slice(0, 100)) {
    const box = element("details", undefined, field("texts"));
    const summary = element("summary", each.text.slice(0, 110) + " ", box);
    element("span", `${each.label}, from ${each.teacher}, margin ${each.margin.toFixed(3)}`, summary).className = "by";
    element("blockquote", each.text, box);
    const table = element("table", undefined, box);
    const head = element("tr", undefined, table);
    ["teacher", data.scorer, "its label", "probability"].forEach(name => element("th", name, head));
    each.answers.forEach(([score, label, probability], number) => {
      const row = element("tr", undefined, table);
      if (data.teachers[number] === each.teacher) row.className = "best";
      [data.teachers[number], score.toFixed(3), label, probability.toFixed(3)]
        .forEach(cell => element("td", cell, row));
    });
    element("p", `The highest score decides: ${each.teacher}. Its weight for the student is ${each.weight.toFixed(2)}.`,
            box);
  }
};
const asked = new URLSearchParams(location.hash.slice(1));
names.forEach(name => {
  if (asked.has(name)) field(name).value = asked.get(name);
  field(name).addEventListener("input", () => {
    const now = new URLSearchParams(names.map(each => [each, field(each).value]).filter(([, value]) => value));
    history.replaceState(null, "", "#" + now);
    show();
  });
});
show();
"""


def explore_section(params: Params, layout: Layout) -> str:
    """The searchable section.

    Args:
        params: All settings.
        layout: Where the tables lie.

    Raises:
        MukiError: A table is missing or damaged.
    """
    facts = open_golden(layout.golden).facts
    content = {
        "teachers": list(facts["teachers"]),
        "labels": facts["labels"],
        "scorer": f"score ({facts['integrate']['scorer']})",
        "texts": _texts(params, layout, facts),
    }
    # No text can end the script element, or begin a comment in it.
    inline = json.dumps(content, ensure_ascii=False).replace("<", "\\u003c")
    what = "all" if facts["rows"] <= SAMPLE else f"{SAMPLE:,} of the"
    note = f"{what} {facts['rows']:,} texts, those of least margin first. A click shows what every teacher answered."
    return f"""<section><h2>Look at the texts</h2><p>{escape(note[0].upper() + note[1:])}</p>
<noscript><p>This part needs JavaScript.</p></noscript>
<div class="filters">
<label>search <input id="search" type="search"></label>
<label>taught by <select id="teacher"></select></label>
<label>label <select id="label"></select></label>
<label>margin at most <input id="margin" type="range" min="0" max="1" step="0.01" value="1"></label>
</div><p id="count" role="status"></p><div id="texts"></div>
<script type="application/json" id="data">{inline}</script><script>{_SCRIPT}</script></section>"""


def label_map(facts: Mapping[str, Any]) -> str:
    """Who knows what: every label of the union with the teachers that know it, as a table."""
    known = {
        label: [name for name, teacher in facts["teachers"].items() if number in teacher["columns"]]
        for number, label in enumerate(facts["labels"])
    }
    shared = sum(len(teachers) > 1 for teachers in known.values())
    rows = "".join(
        f"<tr><td>{escape(label)}</td><td>{escape(', '.join(who))}</td></tr>" for label, who in known.items()
    )
    note = f"{len(known)} labels; {shared} of them are known to more than one teacher."
    return (
        f"<section><h2>Who knows what</h2><p>{note}</p><details><summary>All labels</summary>"
        f'<div class="wide"><table><tr><th>label</th><th>teachers</th></tr>{rows}</table></div></details></section>'
    )


def _texts(params: Params, layout: Layout, facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    shards = open_golden(layout.golden).shards
    corpus = open_labelled_corpus(params, layout)
    found = []
    for number, rows in _sampled(layout).items():
        columns = ["text", "target", "weight", "teacher", "margin", "scores"]
        table = shards[number].read(columns).take(rows)
        best = matrix(table["target"]).argmax(axis=1)
        scores = matrix(table["scores"])
        answered = []
        for labels, shard in zip(corpus.tables.labels.values(), corpus.tables.read(number, ["logits"]), strict=True):
            probs = softmax(shard.logits[rows])
            answered.append(
                [(labels[column], float(row[column])) for column, row in zip(probs.argmax(axis=1), probs, strict=True)]
            )
        for row, (text, teacher, margin, weight) in enumerate(
            zip(*(table[name].to_pylist() for name in ("text", "teacher", "margin", "weight")), strict=True)
        ):
            found.append(
                {
                    "text": text[:_SHOWN] + ("…" if len(text) > _SHOWN else ""),
                    "teacher": teacher,
                    "label": facts["labels"][best[row]],
                    "margin": round(max(margin - MARGIN_FLOOR, 0.0), 4),
                    "weight": round(weight, 4),
                    "answers": [
                        [round(float(scores[row, number]), 4), label, round(probability, 4)]
                        for number, (label, probability) in enumerate(answers[row] for answers in answered)
                    ],
                }
            )
    return sorted(found, key=lambda each: float(each["margin"]))


def _sampled(layout: Layout) -> dict[int, list[int]]:
    """Rows of each shard: the texts of least margin, and as many spread evenly."""
    margins = [shard.read(["margin"])["margin"].to_numpy() for shard in open_golden(layout.golden).shards]
    whole = np.concatenate(margins)
    if len(whole) <= SAMPLE:
        chosen = np.arange(len(whole))
    else:
        least = np.argpartition(whole, SAMPLE // 2)[: SAMPLE // 2]
        spread = np.linspace(0, len(whole) - 1, SAMPLE // 2).astype(np.intp)
        chosen = np.unique(np.concatenate([least, spread]))
    ends = np.cumsum([len(each) for each in margins])
    rows: dict[int, list[int]] = {}
    for row in chosen:
        number = int(np.searchsorted(ends, row, side="right"))
        rows.setdefault(number, []).append(int(row - ends[number] + len(margins[number])))
    return rows
