"""The report's first screen."""

from dataclasses import asdict
from typing import Any

import polars as pl
import pytest

from muki_pipeline.reporting.report.first_screen import Card, FirstScreen, Suffering, first_screen
from muki_pipeline.reporting.report.measured import Measured
from muki_pipeline.routing.gate.gate import Estimate
from muki_pipeline.supervision.summary import RoutingSummary, Starved, audit_of

STUDENT = {"student": {"accuracy": 0.9, "rows": 200}}
ROUTED = {"routed_teachers": {"accuracy": 0.95, "rows": 150, "student_accuracy_on_these": 0.91}}
MANY = {"routed_teachers": ROUTED["routed_teachers"] | {"rows": 1500}}
CORPUS = {"corpus": {"rows_of_known_labels": 1100, "gate": {"right_teacher_best": 0.9671}}}
ANSWERED = Estimate(0.7, False, {}, 3, (60, 0.9312, 0.9, 0.955))
UNANSWERED = Estimate(0.7, False, {}, 3)


def glance(
    measured: dict[str, Any] | None = None,
    estimate: Estimate = UNANSWERED,
    starved: tuple[Starved, ...] = (),
    confused: tuple[tuple[str, str], ...] = (),
    stale: str = "",
    unknown: str | None = None,
) -> FirstScreen:
    answers = pl.DataFrame(confused, schema=["actual", "predicted"], orient="row") if confused else None
    routing = RoutingSummary({"one": {"texts": 7}}, estimate, audit_of(estimate), starved)
    facts = {
        "routing": asdict(routing),
        "integrate": {"scorer": "gate", "unknown_label": unknown},
        "labels": ["<a>", "b", "c", "=b", *([unknown] if unknown else [])],
        "teachers": {"one": {"columns": [0, 1]}, "two": {"columns": [2, 3]}},
    }
    return first_screen(facts, Measured(measured or {}, {}, answers, stale))


def test_figures_stand_with_what_they_are_from() -> None:
    screen = glance(STUDENT | ROUTED | CORPUS)
    assert screen.cards == [
        Card("the student is right on", "0.900", "of 200 test texts (95 %: 0.851 to 0.934)"),
        Card("the teachers themselves are right on", "0.950", "of 150 of these texts; the student there: 0.910"),
        Card("the right teacher was chosen for", "0.967", "of the corpus, by 1,100 gold labels that taught nobody"),
    ]
    assert screen.suffering == []


def test_answers_tell_the_routing_where_there_is_no_gold() -> None:
    [*_, routing] = glance({}, ANSWERED).cards
    assert (routing.value, routing.note) == ("0.931", "of known texts, by 60 answers (95 %: 0.900 to 0.955)")


def test_the_worst_labels_are_named_with_what_they_are_called() -> None:
    confused = (
        [("<a>", "b")] * 4
        + [("<a>", "c")] * 3
        + [("<a>", "<a>")] * 3
        + [("b", "b")] * 6
        + [("rare", "b")] * 4
        + [("=b", "=b")] * 5
    )
    screen = glance(STUDENT, ANSWERED, confused=tuple(confused))
    assert screen.suffering == [
        Suffering("<a>", 10, 3, "b", 4),
        Suffering("b", 6, 6, "", 0),
        Suffering("=b", 5, 5, "", 0),
    ]
    assert "see why &lt;a&gt; is called b" in screen.next


@pytest.mark.parametrize(
    ("measured", "estimate", "starved", "expected"),
    [
        (
            STUDENT | CORPUS,
            ANSWERED,
            (Starved("x<", 50, 1, "y", 45),),
            "hardly any text is taught as x&lt;; y takes",
        ),
        (None, UNANSWERED, (), "find out how often the right teacher is chosen"),
        (None, ANSWERED, (), "measure the student on labelled texts of your own"),
        (STUDENT | ROUTED | CORPUS, UNANSWERED, (), "use it"),  # 150 texts: it may be chance
        (STUDENT | MANY | CORPUS, UNANSWERED, (), "the student is behind its teachers (0.910 against 0.950)"),
        (STUDENT | CORPUS, UNANSWERED, (), "use it: <code>muki-pipeline predict"),
    ],
)
def test_the_next_step_is_what_is_worth_most(
    measured: dict[str, Any] | None, estimate: Estimate, starved: tuple[Starved, ...], expected: str
) -> None:
    assert glance(measured, estimate, starved).next.startswith(expected)


@pytest.mark.parametrize(
    ("mistakes", "finding", "expected"),
    [
        (
            [("<a>", "b")] * 5 + [("b", "<a>")] * 4 + [("c", "b")] * 3,
            "12 mistakes: 9 within the labels of one teacher, 3 across teachers",
            "9 of 12 mistakes are between &lt;a&gt; and b, both labels of one: ask its owner",
        ),
        (
            [("c", "b")] * 6 + [("<a>", "b")],
            "7 mistakes: 1 within the labels of one teacher, 6 across teachers",
            "6 of 7 mistakes are between b and c, labels of different teachers: if they are the same",
        ),
        (
            [("<a>", "c"), ("b", "c"), ("b", "=b"), ("c", "=b")],
            "4 mistakes: 1 within the labels of one teacher, 3 across teachers",
            "use it",
        ),
        ([], "The student makes no mistake on the test set", "use it"),
    ],
)
def test_mistakes_are_told_by_whose_labels_they_are(
    mistakes: list[tuple[str, str]], finding: str, expected: str
) -> None:
    right = [(label, label) for label in ("<a>", "b", "c", "=b") for _ in range(20)]
    screen = glance(STUDENT | CORPUS, confused=(*right, *mistakes))
    assert screen.mistakes == finding
    assert screen.next.startswith(expected)


def test_mistakes_with_the_label_for_texts_of_no_teacher_are_no_teachers() -> None:
    right = [(label, label) for label in ("<a>", "b", "c", "=b", "{other}") for _ in range(20)]
    mistakes = [("{other}", "b")] * 6 + [("c", "b")]
    screen = glance(STUDENT | CORPUS, confused=(*right, *mistakes), unknown="{other}")
    assert screen.mistakes == (
        "7 mistakes: 0 within the labels of one teacher, 1 across teachers, 6 with the label for texts of no teacher"
    )
    assert screen.next.startswith("6 of 7 mistakes are between b and {other}, the label for texts of no teacher: ")
    assert "integrate.unknown_share" in screen.next
    assert "aliases" not in screen.next


def test_few_answers_are_not_called_none() -> None:
    facts = {"routing": None, "integrate": {"scorer": "gate", "answers": "a.csv@00"}, "labels": []}
    screen = first_screen({**facts, "teachers": {"one": {"columns": []}, "two": {"columns": []}}}, Measured())
    assert screen.cards[-1] == Card("the right teacher was chosen for", "nobody knows", "too few answers tell it")


def test_what_is_not_known_is_said() -> None:
    assert [card.value for card in glance().cards] == ["not measured", "nobody knows"]


def test_stale_figures_are_measured_again_first() -> None:
    assert "muki-pipeline evaluate" in glance(stale="the student has changed").next
