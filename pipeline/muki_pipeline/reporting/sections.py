"""Sections of the report: how far the test set is from the corpus, how often the right teacher is chosen; tables."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from muki_pipeline.layout import Layout
from muki_pipeline.store import files
from muki_pipeline.supervision.summary import RoutingSummary, read_summary

_FAR = 1.5
"""New words in the test set, as a multiple of those in a half of the corpus, from which on it is about other things."""
_NOBODY_KNOWS = (
    "Nobody knows yet. <code>muki-pipeline evaluate</code> tells where the corpus has gold labels, "
    "<code>muki-pipeline review</code> writes texts for a person to answer."
)


def html_table(headings: Sequence[str], rows: Sequence[Sequence[str]], best: int = -1) -> str:
    """A table with headings; `best` is the number of the row that stands out."""
    head = "".join(f"<th>{escape(each)}</th>" for each in headings)
    lines = "".join(
        f"<tr{' class=best' if number == best else ''}>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>"
        for number, row in enumerate(rows)
    )
    return f'<div class="wide"><table><tr>{head}</tr>{lines}</table></div>'


def drift_section(layout: Layout) -> list[str]:
    """The section, where `evaluate` has measured a drift."""
    if not files.exists(layout.metrics):
        return []
    found = files.read_json(layout.metrics, "Run muki-pipeline evaluate").get("drift")
    if found is None:
        return []
    rows = "".join(
        f"<tr><td>{name}</td><td>{corpus}</td><td>{test}</td></tr>"
        for name, corpus, test in (
            ("words in a text, median", f"{found['median_words_corpus']:.0f}", f"{found['median_words_test']:.0f}"),
            (
                "words that half of the corpus lacks",
                f"{found['new_words_corpus']:.1%} of the other half",
                f"{found['new_words_test']:.1%}",
            ),
        )
    )
    is_foreign = found["new_words_test"] > _FAR * found["new_words_corpus"]
    note = (
        "The test set has many more new words than the corpus itself: the student was taught about other things."
        if is_foreign
        else "The test set's words are about as familiar as the corpus's own: it is about the same things."
    )
    return [
        f"<section><h2>Corpus and test set</h2><p>{note}</p>"
        f'<div class="wide"><table><tr><th></th><th>corpus</th><th>test set</th></tr>{rows}</table></div></section>'
    ]


def routing_section(facts: Mapping[str, Any], layout: Layout) -> list[str]:
    """How often the right teacher is chosen: what answers say, and what gold labels say."""
    routing = facts["routing"]
    if routing is None:
        return []
    rows = []
    summary = read_summary(routing)
    if summary is not None and (audit := summary.audit) is not None:
        share = f"{audit.share:.3f} (95 % interval {audit.low:.3f} to {audit.high:.3f})"
        rows.append(["right teacher, by a person's answers", share, f"{audit.texts:,} random texts"])
    if files.exists(layout.metrics):
        corpus = files.read_json(layout.metrics, "Run muki-pipeline evaluate").get("corpus", {})
        if scorer := corpus.get(facts["integrate"]["scorer"]):
            known = f"{corpus['rows_of_known_labels']:,} gold labels"
            rows.append(["right teacher, by gold labels", f"{scorer['right_teacher_best']:.3f}", known])
    found = html_table(["", "share", "from"], rows) if rows else f"<p>{_NOBODY_KNOWS}</p>"
    return [f"<section><h2>Is the right teacher chosen?</h2>{found}</section>", *_starved(summary)]


def _starved(summary: RoutingSummary | None) -> list[str]:
    """The labels that hardly any text is taught as."""
    if summary is None or not summary.starved:
        return []
    rows = [
        [each.label, f"{each.answered:,}", f"{each.taught:,}", f"{each.taken:,}", each.rival]
        for each in summary.starved
    ]
    table = html_table(
        ["label", "texts that its teacher gives it", "taught as it", "taught as its rival", "rival"], rows
    )
    what = (
        "Either the corpus lacks such texts, or another teacher's label takes them. <code>muki-pipeline review</code> "
        "asks about these texts first."
    )
    return [f"<section><h2>Labels that hardly any text is taught as</h2><p>{what}</p>{table}</section>"]
