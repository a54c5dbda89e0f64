"""The report's first screen: how good the student is, what is known about the routing, who suffers, what to do next."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

import polars as pl

from muki_pipeline.layout import Layout
from muki_pipeline.reporting.sections import html_table
from muki_pipeline.routing.answers import wilson_interval
from muki_pipeline.store import files
from muki_pipeline.supervision.summary import RoutingSummary, read_summary

_EVALUATE = "Run muki-pipeline evaluate"
_WORST, _FEWEST = 5, 5
"""Labels that are named, and the test texts that a label needs for it."""
_BEHIND = 0.02
"""How far a student may be behind the routed teachers before something can be won by training."""
_WEAK = 0.5


@dataclass(frozen=True)
class Suffering:
    """A label and the student's answers to its test texts.

    Attributes:
        label: The label.
        texts: How many test texts have it.
        right: Those of them that the student calls so.
        instead: What most of the others are called; empty where all are right.
    """

    label: str
    texts: int
    right: int
    instead: str


def at_a_glance(facts: Mapping[str, Any], layout: Layout) -> str:
    """The section.

    Args:
        facts: The golden table's manifest.
        layout: Where everything lies.
    """
    measured = files.read_json(layout.metrics, _EVALUATE) if files.exists(layout.metrics) else {}
    summary = read_summary(facts["routing"])
    worst = _worst(layout)
    cards = [_student(measured), _teachers(measured)]
    if len(facts["teachers"]) > 1:
        cards.append(_routing(facts, measured, summary))
    shown = "".join(
        f"<div>{escape(title)}<b>{escape(value)}</b>{escape(note)}</div>" for title, value, note in cards if value
    )
    table = ""
    if worst:
        rows = [[each.label, f"{each.right} of {each.texts}", each.instead] for each in worst]
        table = "<h3>The labels that suffer most</h3>" + html_table(
            ["label", "test texts that the student calls so", "most others are called"], rows
        )
    step = _next(facts, measured, summary, worst)
    return f'<section><div class="figures">{shown}</div>{table}<p class="next"><b>Next:</b> {step}</p></section>'


def _student(measured: Mapping[str, Any]) -> tuple[str, str, str]:
    """Title, figure and note; a figure that is unknown is empty."""
    student = measured.get("student")
    if student is None:
        return "the student", "not measured", "it needs labelled test texts"
    right, texts = round(student["accuracy"] * student["rows"]), student["rows"]
    low, high = wilson_interval(right, texts)
    return (
        "the student is right on",
        f"{student['accuracy']:.3f}",
        f"of {texts:,} test texts (95 %: {low:.3f} to {high:.3f})",
    )


def _teachers(measured: Mapping[str, Any]) -> tuple[str, str, str]:
    routed = measured.get("routed_teachers", {})
    if "accuracy" not in routed:
        return "", "", ""
    beside = routed.get("student_accuracy_on_these")
    note = f"of {routed['rows']:,} of them" + ("" if beside is None else f"; the student of these: {beside:.3f}")
    return "its teachers, asked in its place", f"{routed['accuracy']:.3f}", note


def _routing(
    facts: Mapping[str, Any], measured: Mapping[str, Any], summary: RoutingSummary | None
) -> tuple[str, str, str]:
    title = "the right teacher was chosen for"
    gold = measured.get("corpus", {}).get(facts["integrate"]["scorer"])
    if gold is not None:
        texts = measured["corpus"]["rows_of_known_labels"]
        return title, f"{gold['right_teacher_best']:.3f}", f"of the corpus, by {texts:,} gold labels"
    if summary is not None and (audit := summary.audit) is not None:
        note = f"of known texts, by {audit.texts:,} answers (95 %: {audit.low:.3f} to {audit.high:.3f})"
        return title, f"{audit.share:.3f}", note
    return title, "nobody knows", "no text of the corpus has been answered"


def _worst(layout: Layout) -> list[Suffering]:
    """The labels of which the student finds least, by the test set."""
    path = layout.plots / "confusion.csv"
    if not files.exists(path):
        return []
    pairs = pl.read_csv(io.BytesIO(files.read_bytes(path, _EVALUATE)), infer_schema=False)
    pairs = pairs.with_columns(pl.all().str.replace(r"^'([=+\-@])", "$1"))  # see spreadsheet_csv
    found = []
    for (label,), part in pairs.group_by("actual", maintain_order=True):
        right = int((part["predicted"] == label).sum())
        others = part.filter(pl.col("predicted") != label)["predicted"].value_counts().sort("count", "predicted")
        if len(part) >= _FEWEST:
            instead = str(others["predicted"][-1]) if len(others) else ""
            found.append(Suffering(str(label), len(part), right, instead))
    return sorted(found, key=lambda each: each.right / each.texts)[:_WORST]


def _next(
    facts: Mapping[str, Any], measured: Mapping[str, Any], summary: RoutingSummary | None, worst: list[Suffering]
) -> str:
    """The one thing that is worth most now, as HTML."""
    review = "<code>muki-pipeline review --html --texts 60</code>"
    has_choice, is_answered = len(facts["teachers"]) > 1, facts["integrate"].get("answers") is not None
    if summary is not None and summary.starved and not is_answered:
        label, rival = (escape(each) for each in (summary.starved[0].label, summary.starved[0].rival))
        return f"hardly any text is taught as {label}; {rival} takes them. {review} asks about these texts first."
    if has_choice and summary is not None and summary.audit is None and "corpus" not in measured:
        return f"find out how often the right teacher is chosen: {review} writes a page for a person to answer."
    if "student" not in measured:
        return "measure the student on labelled texts of your own: <code>prepare.test</code> in params.yaml."
    routed = measured.get("routed_teachers", {})
    beside = routed.get("student_accuracy_on_these", measured["student"]["accuracy"])
    if routed.get("accuracy", 0.0) - beside > _BEHIND:
        return (
            f"the student is behind its teachers ({beside:.3f} against {routed['accuracy']:.3f}): give it more texts, "
            "or more <code>student.epochs</code>."
        )
    if worst and worst[0].right < _WEAK * worst[0].texts:
        label, instead = escape(worst[0].label), escape(worst[0].instead)
        return f"see why {label} is called {instead}: search the texts below, or ask a person with {review}."
    return "use it: <code>muki-pipeline predict FILE</code>, or <code>muki-pipeline export --onnx DIR</code>."
