"""Which labels the student confuses: a matrix whose cells open into test texts, and the commonest confusions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from muki_pipeline.reporting.report.charts.chart import Chart, Table, amount
from muki_pipeline.reporting.report.charts.chart import share as percent
from muki_pipeline.reporting.report.charts.svg import Bar, bars, one_line, shorten
from muki_pipeline.reporting.report.texts import cut

MOST_LABELS = 24
"""Labels in the matrix; with more labels, those that are confused most."""
_BARS, _HALF = 10, 19
_A_CELL, _RIGHT, _TEXTS, _LONG = 8, 3, 600, 500
"""Texts of a confusion and of a label that is right; texts in all; bytes of each, so that the page stays small."""


@dataclass(frozen=True)
class Cell:
    """A cell of the matrix.

    Attributes:
        count: Test texts.
        share: That of the row's texts.
        is_right: Whether the student's label is the true one.
        told: It in words.
    """

    count: int
    share: float
    is_right: bool
    told: str

    @property
    def shade(self) -> int:
        """How dark it is, 0 to 10; whatever is not empty can be seen, and confusions are told apart up to 30 %."""
        most = 1.0 if self.is_right else 0.3
        return min(10, int(np.ceil(10 * (self.share / most) ** 0.6))) if self.count else 0


@dataclass(frozen=True)
class Confusions:
    """The matrix and what its cells open into.

    Attributes:
        finding: Its title.
        labels: Of its rows and columns.
        cells: `[labels, labels]`, true label by the student's.
        others: `[labels]`, texts of a row that the student calls something that is not in the matrix.
        left_out: Labels that are not in the matrix.
        chart: The commonest confusions, and all of them as a table; None where there are none.
        texts: The cells' texts, for the page's script: "row,column" -> texts.
    """

    finding: str
    labels: Sequence[str]
    cells: Sequence[Sequence[Cell]]
    others: Sequence[int]
    left_out: int
    chart: Chart | None
    texts: Mapping[str, Any]


def confusions(answers: pl.DataFrame) -> Confusions:
    """The matrix of a test set.

    Args:
        answers: `text`, `actual`, `predicted`; a row per test text.
    """
    counted = (
        answers.group_by("actual", "predicted")
        .len("count")
        .sort(["count", "actual", "predicted"], descending=[True, False, False])
    )
    wrong = counted.filter(pl.col("actual") != pl.col("predicted"))
    labels = _labels(counted, wrong)
    numbers = {label: number for number, label in enumerate(labels)}
    table = np.zeros((len(labels), len(labels)), dtype=np.int64)
    for actual, predicted, count in counted.iter_rows():
        if actual in numbers and predicted in numbers:
            table[numbers[actual], numbers[predicted]] = count
    totals = dict(answers.group_by("actual").len().iter_rows())
    rows = [totals.get(label, 0) for label in labels]
    cells = [
        [_cell(labels, row, column, int(table[row, column]), rows[row]) for column in range(len(labels))]
        for row in range(len(labels))
    ]
    occurring = len({*counted["actual"], *counted["predicted"]})
    others = [total - int(table[row].sum()) for row, total in enumerate(rows)]
    found = _finding(wrong, len(answers))
    return Confusions(
        found,
        labels,
        cells,
        others,
        occurring - len(labels),
        _chart(wrong, totals),
        _texts(answers, counted, numbers),
    )


def _labels(counted: pl.DataFrame, wrong: pl.DataFrame) -> list[str]:
    """Labels of the matrix, in the order of names: all, or those with the most confusions."""
    every = sorted({*counted["actual"], *counted["predicted"]})
    if len(every) <= MOST_LABELS:
        return every
    involved: dict[str, int] = dict.fromkeys(every, 0)
    for actual, predicted, count in wrong.iter_rows():
        involved[actual] += count
        involved[predicted] += count
    return sorted(sorted(every, key=lambda label: (-involved[label], label))[:MOST_LABELS])


def _cell(labels: Sequence[str], row: int, column: int, count: int, total: int) -> Cell:
    is_right = row == column
    said = "rightly" if is_right else one_line(labels[column])
    told = f"{amount(count, 'text')} of {one_line(labels[row])}, called {said}"
    return Cell(count, count / total if total else 0.0, is_right, told)


def _finding(wrong: pl.DataFrame, texts: int) -> str:
    if wrong.is_empty():
        return f"The student confuses none of {amount(texts, 'test text')}"
    actual, predicted, count = wrong.row(0)
    mistakes = int(wrong["count"].sum())
    return (
        f"Of {amount(mistakes, 'mistake')} the commonest is {one_line(actual)} called {one_line(predicted)}: "
        f"{amount(count, 'test text')}"
    )


def _chart(wrong: pl.DataFrame, totals: Mapping[str, int]) -> Chart | None:
    if wrong.is_empty():
        return None
    rows = [[actual, predicted, f"{count:,} of {totals[actual]:,}"] for actual, predicted, count in wrong.iter_rows()]
    shown = [
        Bar(f"{shorten(actual, _HALF)} → {shorten(predicted, _HALF)}", [(count, "wrong")], f"{count:,}")
        for actual, predicted, count in wrong.head(_BARS).iter_rows()
    ]
    share = int(wrong.head(_BARS)["count"].sum()) / int(wrong["count"].sum())
    return Chart(
        f"The {min(_BARS, len(wrong))} commonest confusions are {percent(share, 0)} of the mistakes",
        bars("The commonest confusions", shown, "test texts", most=2 * _HALF + 3),
        Table(["true label", "the student's", "test texts"], rows),
        "True label → the student's.",
    )


def _texts(answers: pl.DataFrame, counted: pl.DataFrame, numbers: Mapping[str, int]) -> dict[str, list[str]]:
    """A few texts of each cell of the matrix; confusions come first where not all have room."""
    first = answers.group_by("actual", "predicted").agg(pl.col("text").head(_A_CELL))
    samples = {(actual, predicted): texts for actual, predicted, texts in first.iter_rows()}
    pairs = [(actual, predicted) for actual, predicted, _ in counted.iter_rows()]
    found: dict[str, list[str]] = {}
    room = _TEXTS
    for actual, predicted in sorted(pairs, key=lambda pair: pair[0] == pair[1]):
        if actual in numbers and predicted in numbers:
            kept = samples[actual, predicted][: min(room, _RIGHT if actual == predicted else _A_CELL)]
            found[f"{numbers[actual]},{numbers[predicted]}"] = [cut(text, _LONG) for text in kept]
            room -= len(kept)
    return found
