"""The texts in the page: a sample to search, each with who taught it and what every teacher answered.

They lie in the page as JSON; a script builds what is shown with `textContent`, so no text is ever read as HTML.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from muki_pipeline.config import Params
from muki_pipeline.labels.tables import open_labelled_corpus
from muki_pipeline.layout import Layout, open_golden
from muki_pipeline.reporting.pages import as_json
from muki_pipeline.routing.confidence import softmax
from muki_pipeline.store.columns import matrix
from muki_pipeline.supervision.strategies import MARGIN_FLOOR

SAMPLE = 1_500
"""Texts in the page: half of them those of least margin, half spread evenly over the corpus."""
NO_ANSWER = -1
"""Stands for the number of a teacher's label."""
_ROOM = 1_300_000
"""Bytes that they may take, whatever their script and however many teachers there are."""
_LONG, _AN_ANSWER, _REST = 600, 30, 120
"""Bytes of a text, of a teacher's answer, and of the rest of an entry."""


def cut(text: str, most: int) -> str:
    """A text that takes no more than so many bytes of the page, with an ellipsis where it was cut."""
    kept = text[:most]
    while (size := len(as_json(kept).encode(errors="replace"))) > most:
        kept = kept[: min(len(kept) - 1, len(kept) * most // size)]
    return kept if kept == text else f"{kept}…"


def searchable(params: Params, layout: Layout) -> dict[str, Any]:
    """What the page's search reads: texts of least margin first, and the names that they refer to by number.

    Args:
        params: All settings.
        layout: Where the tables lie.

    Raises:
        MukiError: A table is missing or damaged.
    """
    facts = open_golden(layout.golden).facts
    texts = _texts(params, layout)
    return {
        "teachers": list(facts["teachers"]),
        "labels": facts["labels"],
        "own": [list(teacher["labels"]) for teacher in facts["teachers"].values()],
        "scorer": f"score ({facts['integrate']['scorer']})",
        "rows": facts["rows"],
        "texts": texts,
    }


def _texts(params: Params, layout: Layout) -> list[Mapping[str, Any]]:
    golden = open_golden(layout.golden)
    shards, teachers = golden.shards, list(golden.facts["teachers"])
    corpus = open_labelled_corpus(params, layout)
    found: list[dict[str, Any]] = []
    for number, rows in _sampled(layout, len(teachers)).items():
        table = shards[number].read(["text", "target", "weight", "teacher", "margin", "scores"]).take(rows)
        best = matrix(table["target"]).argmax(axis=1)
        scores = matrix(table["scores"])
        labels = corpus.tables.read(number, ["logits"])
        probs = [np.where(each.is_silent[rows, None], 0.0, softmax(each.logits[rows])) for each in labels]
        columns = (table[name].to_pylist() for name in ("text", "teacher", "margin", "weight"))
        for row, (text, teacher, margin, weight) in enumerate(zip(*columns, strict=True)):
            answers = zip(scores[row], (each[row] for each in probs), strict=True)
            found.append(
                {
                    "text": cut(text, _LONG),
                    "teacher": teachers.index(teacher),
                    "label": int(best[row]),
                    "margin": round(max(margin - MARGIN_FLOOR, 0.0), 4),
                    "weight": round(weight, 4),
                    "answers": [
                        [
                            round(float(score), 4),
                            int(each.argmax()) if each.any() else NO_ANSWER,
                            round(float(each.max()), 4),
                        ]
                        for score, each in answers
                    ],
                }
            )
    return sorted(found, key=lambda each: float(each["margin"]))


def sample_size(teachers: int) -> int:
    """How many texts have room in the page."""
    return min(SAMPLE, _ROOM // (_LONG + _REST + _AN_ANSWER * teachers))


def _sampled(layout: Layout, teachers: int) -> dict[int, list[int]]:
    """Rows of each shard: the texts of least margin, those that teach nothing last, and as many spread evenly."""
    tables = [shard.read(["margin", "weight"]) for shard in open_golden(layout.golden).shards]
    margins = [np.where(table["weight"].to_numpy() > 0, table["margin"].to_numpy(), np.inf) for table in tables]
    whole, size = np.concatenate(margins), sample_size(teachers)
    if len(whole) <= size:
        chosen = np.arange(len(whole))
    else:
        least = np.argpartition(whole, size // 2)[: size // 2]
        spread = np.linspace(0, len(whole) - 1, size // 2).astype(np.intp)
        chosen = np.unique(np.concatenate([least, spread]))
    ends = np.cumsum([len(each) for each in margins])
    rows: dict[int, list[int]] = {}
    for row in chosen:
        number = int(np.searchsorted(ends, row, side="right"))
        rows.setdefault(number, []).append(int(row - ends[number] + len(margins[number])))
    return rows
