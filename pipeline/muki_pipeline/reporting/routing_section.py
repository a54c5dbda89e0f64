"""The report's sections on the choice of teachers: how often it is right, and which labels it starves."""

from collections.abc import Mapping
from typing import Any

from muki_pipeline.layout import Layout
from muki_pipeline.reporting.html_table import html_table
from muki_pipeline.store import files
from muki_pipeline.supervision.summary import RoutingSummary, read_summary

_NOBODY_KNOWS = (
    "Nobody knows yet. <code>muki-pipeline evaluate</code> tells where the corpus has gold labels, "
    "<code>muki-pipeline review</code> writes texts for a person to answer."
)


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
