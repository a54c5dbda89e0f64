"""The report's first screen: how good the student is, what is known about the routing, who suffers, what to do next."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl
from markupsafe import Markup

from muki_pipeline.reporting.report.charts.chart import amount
from muki_pipeline.reporting.report.measured import Measured
from muki_pipeline.reporting.report.provenance import owners
from muki_pipeline.routing.answers import wilson_interval
from muki_pipeline.supervision.summary import RoutingSummary, read_summary

_WORST, _FEWEST = 5, 5
"""Labels that are named, and the test texts that a label needs for it."""
_BEHIND = 0.02
"""How far a student may be behind the routed teachers before something can be won by training."""
_WEAK, _MANY = 0.5, 0.1
"""Share of a label's texts below which it is asked why; share of all mistakes from which on two labels are named."""


@dataclass(frozen=True)
class Suffering:
    """A label and the student's answers to its test texts.

    Attributes:
        label: The label.
        texts: How many test texts have it.
        right: Those of them that the student calls so.
        instead: What the others are most often called; empty where all are right.
        called: How many of them are called so.
    """

    label: str
    texts: int
    right: int
    instead: str
    called: int


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
        mistakes: How many mistakes stay among the labels of one teacher.
        next: The one thing to do next.
    """

    cards: list[Card]
    suffering: list[Suffering]
    mistakes: str
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
    mistakes = None if measured.answers is None else _mistakes(measured.answers, owners(facts))
    step = _next(facts, measured.metrics, summary, worst, mistakes)
    if measured.stale:
        step = Markup("measure again: <code>muki-pipeline evaluate</code>.")
    told = "" if mistakes is None else mistakes.finding
    return FirstScreen([card for card in cards if card is not None], worst, told, step)


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
    note = f"of {routed['rows']:,} of these texts" + ("" if beside is None else f"; the student there: {beside:.3f}")
    return Card("the teachers themselves are right on", f"{routed['accuracy']:.3f}", note)


def _routing(facts: Mapping[str, Any], measured: Mapping[str, Any], summary: RoutingSummary | None) -> Card:
    title = "the right teacher was chosen for"
    gold = measured.get("corpus", {}).get(facts["integrate"]["scorer"])
    if gold is not None:
        texts = measured["corpus"]["rows_of_known_labels"]
        return Card(
            title, f"{gold['right_teacher_best']:.3f}", f"of the corpus, by {texts:,} gold labels that taught nobody"
        )
    if summary is not None and (audit := summary.audit) is not None:
        note = f"of known texts, by {audit.texts:,} answers (95 %: {audit.low:.3f} to {audit.high:.3f})"
        return Card(title, f"{audit.share:.3f}", note)
    few = facts["integrate"].get("answers") is not None
    return Card(title, "nobody knows", "too few answers tell it" if few else "no text of the corpus has been answered")


def _worst(answers: pl.DataFrame) -> list[Suffering]:
    """The labels of which the student finds least, by the test set: `actual`, `predicted`."""
    found = []
    for (label,), part in answers.group_by("actual", maintain_order=True):
        right = int((part["predicted"] == label).sum())
        others = part.filter(pl.col("predicted") != label)["predicted"].value_counts().sort("count", "predicted")
        if len(part) >= _FEWEST:
            instead, called = (str(others["predicted"][-1]), int(others["count"][-1])) if len(others) else ("", 0)
            found.append(Suffering(str(label), len(part), right, instead, called))
    return sorted(found, key=lambda each: each.right / each.texts)[:_WORST]


@dataclass(frozen=True)
class _Mistakes:
    """The student's mistakes on the test set.

    Attributes:
        count: How many.
        finding: How many stay among the labels of one teacher, in words.
        pair: The two labels that are confused most, in either direction.
        of_pair: How many mistakes these are.
        owners: The teachers that know both; empty where none does.
    """

    count: int
    finding: str
    pair: tuple[str, str]
    of_pair: int
    owners: list[str]


def _mistakes(answers: pl.DataFrame, known: Mapping[str, list[str]]) -> _Mistakes:
    """The mistakes among a test set's `actual`, `predicted`."""
    wrong = answers.filter(pl.col("actual") != pl.col("predicted")).select("actual", "predicted").rows()
    if not wrong:
        return _Mistakes(0, "The student makes no mistake on the test set", ("", ""), 0, [])

    def shared(one: str, other: str) -> list[str]:
        return [name for name in known.get(one, []) if name in known.get(other, [])]

    inside = sum(bool(shared(*pair)) for pair in wrong)
    of_nobody = sum(not all(known.get(label) for label in pair) for pair in wrong)
    finding = amount(len(wrong), "mistake")
    if len({name for names in known.values() for name in names}) > 1:
        across = len(wrong) - inside - of_nobody
        finding += f": {inside:,} within the labels of one teacher, {across:,} across teachers"
        if of_nobody:
            finding += f", {of_nobody:,} with the label for texts of no teacher"
    pairs = Counter(tuple(sorted(pair)) for pair in wrong)
    (one, other), count = max(pairs.items(), key=lambda item: (item[1], item[0]))
    return _Mistakes(len(wrong), finding, (one, other), count, shared(one, other))


def _is_behind(accuracy: float, beside: float, texts: int) -> bool:
    """Whether a student is behind its teachers by more than chance, as if they were measured on different texts."""
    deviation = ((accuracy * (1 - accuracy) + beside * (1 - beside)) / max(texts, 1)) ** 0.5
    return bool(accuracy - beside > max(_BEHIND, 1.96 * deviation))


def _next(
    facts: Mapping[str, Any],
    measured: Mapping[str, Any],
    summary: RoutingSummary | None,
    worst: list[Suffering],
    mistakes: _Mistakes | None,
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
    if _is_behind(routed.get("accuracy", 0.0), beside, routed.get("rows", 0)):
        told = Markup(
            "the student is behind its teachers ({:.3f} against {:.3f}): give it more texts, or more "
            "<code>student.epochs</code>."
        )
        return told.format(beside, routed["accuracy"])
    if worst and worst[0].right < _WEAK * worst[0].texts:
        told = Markup("see why {} is called {}: look at the texts below{}.")
        ask = Markup(", or ask a person with {}").format(review) if has_choice else ""
        return told.format(worst[0].label, worst[0].instead, ask)
    if mistakes is not None and mistakes.of_pair >= max(_MANY * mistakes.count, _FEWEST):
        told = Markup("{} of {} mistakes are between {} and {}, ").format(
            f"{mistakes.of_pair:,}", f"{mistakes.count:,}", *mistakes.pair
        )
        if mistakes.owners:
            return told + Markup("both labels of {}: ask its owner what tells them apart.").format(mistakes.owners[0])
        if has_choice and facts["integrate"].get("unknown_label") in mistakes.pair:
            share = Markup("the label for texts of no teacher: {} tells how many there are, for {}.")
            return told + share.format(review, Markup("<code>integrate.unknown_share</code>"))
        aliases = Markup(
            "labels of different teachers: if they are the same, say so in <code>integrate.aliases</code>;"
        )
        return told + aliases + Markup(" if not, ask a person with {}.").format(review)
    return Markup("use it: <code>muki-pipeline predict FILE</code>, or <code>muki-pipeline export --onnx DIR</code>.")
