"""The tables of `experiments.rivals`: spread, what is undecided, where gold labels overtake the default, and costs."""

from typing import Any

import pytest

from experiments.rivals.settings import TITLES
from tests import rivals_tables

FACTS = {
    "title": "News, 2",
    "texts": {"corpus": 1000, "test": 500},
    "labels": 10,
    "teachers": {"a": {"accuracy": 0.9}, "b": {"accuracy": 0.8}},
    "gold": {"gold_5": 5.0, "gold_10": 10.0, "gold_20": 18.0, "supervised": 100.0},
}


def row(rule: str, *accuracies: float, p_value: float | None = None, difference: float = 0.0) -> dict[str, Any]:
    students = [
        {"rule": rule, "seed": seed, "accuracy": each, "supervision_accuracy": 0.75}
        for seed, each in enumerate(accuracies)
    ]
    tests = [] if p_value is None else [{"rule": "gate", "other": rule, "p_value": p_value, "difference": difference}]
    return {"students": students, "tests": tests}


def records(**rows: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {f"rivals/news-2-1000/{name}": {"values": values} for name, values in {"setting": FACTS, **rows}.items()}


def cells(lines: list[str], heading: str) -> str:
    """The only row's cell under a heading."""
    [headings, _, values] = [line.split("|") for line in lines]
    return values[headings.index(heading)]


def test_rows_without_gold_labels_stand_beside_the_default() -> None:
    found = rivals_tables.without_gold(
        records(
            gate=row("gate", 0.7, 0.8),
            muki=row("muki", 0.6, p_value=0.01, difference=0.1),
            names_student=row("names_student", 0.74, 0.78, p_value=0.4, difference=-0.01),
            mutual_information=row("mutual_information", 0.5, p_value=0.4, difference=0.3),
            uhc=row("uhc", 0.5),
            names={"accuracy": 0.5},
            averaged={"accuracy": None, "reason": "other architectures"},
        )
    )
    assert cells(found, "teachers, own labels") == "0.800 to 0.900"
    assert cells(found, "`gate`") == "0.750 ± 0.071"
    assert cells(found, "`muki`") == "0.600"
    assert cells(found, "names, student") == "0.760 ± 0.028 ≈"
    assert cells(found, "`mutual_information`") == "0.500 †"  # the test saw another student of the default rule
    assert cells(found, "`uhc`") == "0.500 †"
    assert cells(found, "names") == "0.500"
    assert cells(found, "averaged") == "no"
    assert cells(found, "`cfl`") == ""
    assert cells(found, "target of `gate`") == "0.750"


def test_settings_that_nothing_is_measured_of_are_named() -> None:
    measured = records(gate=row("gate", 0.7))
    measured["rivals/news-2-1000/setting"] = {"values": FACTS | {"title": TITLES["hwu64-4"]}}
    found = rivals_tables.not_run(measured)
    assert TITLES["hwu64-4"] not in found
    assert TITLES["banking77-2"] in found
    assert TITLES["news-en-zh-4"] in found


@pytest.mark.parametrize(
    ("few", "everything", "expected"),
    [
        ({"gold_5": 0.8}, 0.9, "fewer than 5 ≈"),
        ({"gold_5": 0.6, "gold_10": 0.7}, 0.74, "more than 100"),
        ({"gold_5": 0.6, "gold_10": 0.7, "gold_20": 0.8}, 0.9, "13 ≈"),
        ({"gold_10": 0.7}, 0.8, "32"),
        ({}, 0.9, "fewer than 100"),
    ],
)
def test_gold_labels_overtake_the_default_between_two_counts(
    few: dict[str, float], everything: float, expected: str
) -> None:
    rows = {name: row(name, accuracy, p_value=0.4, difference=abs(accuracy - 0.75)) for name, accuracy in few.items()}
    rows["supervised"] = row("supervised", everything, p_value=0.01, difference=everything - 0.75)
    found = rivals_tables.gold(records(gate=row("gate", 0.75), **rows))
    assert cells(found, "labels to beat `gate`") == expected


def test_who_needs_no_teachers_and_where_the_default_loses() -> None:
    measured = records(
        gate=row("gate", 0.75),
        gold_5=row("gold_5", 0.7, p_value=0.01, difference=0.05),
        gold_10=row("gold_10", 0.8, p_value=0.01, difference=0.05),
        names_student=row("names_student", 0.6),
        routed={"accuracy": 0.76},
        concat=row("concat", 0.7),
        muki=row("muki", 0.65),
    )
    assert rivals_tables.summary(measured) == [
        "A student of so many labelled texts per label does as well: 7 (News).",
        "One of label names alone: -15.0 (-15.0 to -15.0) points.",
        "Routed teachers, no student: better on 1 of 1 settings (1.0).",
    ]
    assert rivals_tables.losses(measured) == (
        "Better than the student of `gate`, on how many settings (points): routed teachers 1 of 1 (1.0). "
        "The paper's rule `muki` is below `concat` on 1 of 1 (5.0)."
    )


@pytest.mark.parametrize(
    ("found", "expected"),
    [(["9"], "9"), (["10", "9", "10"], "9 to 10"), (["7", "7"], "7"), (["7", "fewer than 50"], "7; fewer than 50")],
)
def test_counts_of_several_settings_are_a_range(found: list[str], expected: str) -> None:
    assert rivals_tables.counts_of(found) == expected


def test_costs_are_those_of_the_corpus_and_of_an_answer() -> None:
    seconds = {"label": 0.01, "embed": 0.002, "answer": 0.001, "gate": 3, "names": 5, "train": 20, "train_10": 4}
    found = rivals_tables.costs(records(gate=row("gate", 0.7), costs={"seconds": seconds}))
    assert cells(found, "`gate`, s") == "35"  # 10 of labels, 2 of embeddings, 3 of the gate, 20 of training
    assert cells(found, "`muki`, s") == "30"
    assert cells(found, "names, student, s") == "27"
    assert cells(found, "10 gold labels a label, s") == "4"
    assert cells(found, "routed, s") == "15"
    assert cells(found, "a student, texts/s") == "1,000"


def test_costs_that_were_not_measured_are_not_in_the_table() -> None:
    unmeasured = records(gate=row("gate", 0.7))
    assert rivals_tables.of_costs(unmeasured) == {}
    costs = {name.replace("1000", "4000"): each for name, each in records(costs={"seconds": {}}).items()}
    assert {name.rsplit("/", 1)[1] for name in rivals_tables.of_costs({**unmeasured, **costs})} == {"costs", "setting"}
