"""The report's first screen: how good the student is, what is known about the routing, who suffers, what to do next."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl
from markupsafe import Markup

from muki_pipeline.reporting.report.measured import Measured
from muki_pipeline.routing.answers import wilson_interval
from muki_pipeline.supervision.summary import RoutingSummary, read_summary

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


@dataclass(frozen=True)
class Card:
    """A figure in large type.

    Attributes:
        title: What it is.
        value: The figure, or that it is not known.
        note: Of what, and how sure.
    """

    title: str
    value: str
    note: str


@dataclass(frozen=True)
class FirstScreen:
    """What the first screen says.

    Attributes:
        cards: The figures.
        suffering: The labels of which the student finds least.
        next: The one thing to do next.
    """

    cards: list[Card]
    suffering: list[Suffering]
    next: Markup


def first_screen(facts: Mapping[str, Any], measured: Measured) -> FirstScreen:
    """What the first screen says.

    Args:
        facts: The golden table's manifest.
        measured: What was measured of the present student.
    """
    summary = read_summary(facts["routing"])
    worst = [] if measured.answers is None else _worst(measured.answers)
    cards = [_student(measured.metrics), _teachers(measured.metrics)]
    if len(facts["teachers"]) > 1:
        cards.append(_routing(facts, measured.metrics, summary))
    step = _next(facts, measured.metrics, summary, worst)
    if measured.stale:
        step = Markup("measure again: <code>muki-pipeline evaluate</code>.")
    return FirstScreen([card for card in cards if card is not None], worst, step)


def _student(measured: Mapping[str, Any]) -> Card:
    student = measured.get("student")
    if student is None:
        return Card("the student", "not measured", "it needs labelled test texts")
    right, texts = round(student["accuracy"] * student["rows"]), student["rows"]
    low, high = wilson_interval(right, texts)
    return Card(
        "the student is right on",
        f"{student['accuracy']:.3f}",
        f"of {texts:,} test texts (95 %: {low:.3f} to {high:.3f})",
    )


def _teachers(measured: Mapping[str, Any]) -> Card | None:
    routed = measured.get("routed_teachers", {})
    if "accuracy" not in routed:
        return None
    beside = routed.get("student_accuracy_on_these")
    note = f"of {routed['rows']:,} of them" + ("" if beside is None else f"; the student of these: {beside:.3f}")
    return Card("its teachers, asked in its place", f"{routed['accuracy']:.3f}", note)


def _routing(facts: Mapping[str, Any], measured: Mapping[str, Any], summary: RoutingSummary | None) -> Card:
    title = "the right teacher was chosen for"
    gold = measured.get("corpus", {}).get(facts["integrate"]["scorer"])
    if gold is not None:
        texts = measured["corpus"]["rows_of_known_labels"]
        return Card(title, f"{gold['right_teacher_best']:.3f}", f"of the corpus, by {texts:,} gold labels")
    if summary is not None and (audit := summary.audit) is not None:
        note = f"of known texts, by {audit.texts:,} answers (95 %: {audit.low:.3f} to {audit.high:.3f})"
        return Card(title, f"{audit.share:.3f}", note)
    return Card(title, "nobody knows", "no text of the corpus has been answered")


def _worst(answers: pl.DataFrame) -> list[Suffering]:
    """The labels of which the student finds least, by the test set: `actual`, `predicted`."""
    found = []
    for (label,), part in answers.group_by("actual", maintain_order=True):
        right = int((part["predicted"] == label).sum())
        others = part.filter(pl.col("predicted") != label)["predicted"].value_counts().sort("count", "predicted")
        if len(part) >= _FEWEST:
            instead = str(others["predicted"][-1]) if len(others) else ""
            found.append(Suffering(str(label), len(part), right, instead))
    return sorted(found, key=lambda each: each.right / each.texts)[:_WORST]


def _next(
    facts: Mapping[str, Any], measured: Mapping[str, Any], summary: RoutingSummary | None, worst: list[Suffering]
) -> Markup:
    """The one thing that is worth most now."""
    review = Markup("<code>muki-pipeline review --html --texts 60</code>")
    has_choice, is_answered = len(facts["teachers"]) > 1, facts["integrate"].get("answers") is not None
    if summary is not None and summary.starved and not is_answered:
        lost = summary.starved[0]
        told = Markup("hardly any text is taught as {}; {} takes them. {} asks about these texts first.")
        return told.format(lost.label, lost.rival, review)
    if has_choice and summary is not None and summary.audit is None and "corpus" not in measured:
        told = Markup("find out how often the right teacher is chosen: {} writes a page for a person to answer.")
        return told.format(review)
    if "student" not in measured:
        return Markup("measure the student on labelled texts of your own: <code>prepare.test</code> in params.yaml.")
    routed = measured.get("routed_teachers", {})
    beside = routed.get("student_accuracy_on_these", measured["student"]["accuracy"])
    if routed.get("accuracy", 0.0) - beside > _BEHIND:
        told = Markup(
            "the student is behind its teachers ({:.3f} against {:.3f}): give it more texts, or more "
            "<code>student.epochs</code>."
        )
        return told.format(beside, routed["accuracy"])
    if worst and worst[0].right < _WEAK * worst[0].texts:
        told = Markup("see why {} is called {}: look at the texts below, or ask a person with {}.")
        return told.format(worst[0].label, worst[0].instead, review)
    return Markup("use it: <code>muki-pipeline predict FILE</code>, or <code>muki-pipeline export --onnx DIR</code>.")
