"""Which columns of a file of answers are read."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from muki_pipeline.blocks import AnswerFile
from muki_pipeline.corpus.answer_file import answers_digest
from muki_pipeline.deployment.classify import Request, classify_file
from muki_pipeline.errors import MukiError
from muki_pipeline.labelling.answer_file.reading import Answers, read_answers
from muki_pipeline.progress import Progress
from muki_pipeline.setup.candidates import find_teacher
from muki_pipeline.setup.look import Lengths
from muki_pipeline.setup.settings import Texts, render


class Certain:
    """A classifier that gives every text the same label."""

    key = "0" * 64

    def __init__(self, label: str) -> None:
        self.labels: tuple[str, ...] = ("yes", "no")
        self.label = label

    def probs(self, texts: list[str], progress: Progress) -> NDArray[np.float32]:
        row = [0.9 if label == self.label else 0.1 for label in self.labels]
        return np.array([row] * len(texts), dtype=np.float32)


def read(path: Path, **settings: Any) -> Answers:
    return read_answers("vendor", AnswerFile(answers=path.name, **settings), path.parent)


def first(answers: Answers) -> dict[str, float]:
    [row] = answers.probs(np.array([0]))
    return {label: round(float(value), 4) for label, value in zip(answers.labels, row, strict=True)}


def predicted(folder: Path, times: int, every_label: bool) -> Path:
    """A file with gold labels `no`, which was classified as `no` and, the last time, as `yes`."""
    pl.DataFrame({"text": ["x", "y"], "label": ["no", "no"]}).write_csv(folder / "0.csv")
    for time in range(times):
        target = folder / f"{time + 1}.csv"
        classifier = Certain("yes" if time == times - 1 else "no")
        classify_file(classifier, Request(folder / f"{time}.csv", target, "text", every_label=every_label))
    return folder / f"{times}.csv"


@pytest.mark.parametrize("times", [1, 2, 3])
@pytest.mark.parametrize("settings", [{}, {"labels": ["no", "yes"]}])
def test_what_predict_wrote_is_read_and_not_the_gold_labels_beside_it(
    tmp_path: Path, times: int, settings: dict[str, Any]
) -> None:
    assert first(read(predicted(tmp_path, times, every_label=True), **settings)) == {"yes": 0.9, "no": 0.1}


def test_of_a_gold_and_a_predicted_label_the_settings_must_choose(tmp_path: Path) -> None:
    path = predicted(tmp_path, 2, every_label=False)
    with pytest.raises(MukiError, match=r"'label' and 'predicted predicted label'.*Set teachers\.vendor\.label to"):
        read(path)
    chosen = read(path, label="predicted predicted label", labels=["yes", "no"])
    assert first(chosen) == {"yes": 0.9, "no": 0.1}, "with the probability that was written with it"
    assert first(read(path, label="label", labels=["yes", "no"])) == {"yes": 0.0, "no": 1.0}


def test_a_predicted_label_without_another_is_read(tmp_path: Path) -> None:
    frame = pl.DataFrame({"text": ["x", "y"], "probability": [7, 8], "predicted label": ["yes", "no"]})
    frame.with_columns(pl.lit(0.8).alias("predicted probability")).write_csv(tmp_path / "a.csv")
    assert first(read(tmp_path / "a.csv")) == {"no": 0.2, "yes": 0.8}


def wide(folder: Path, column: str, cells: list[str]) -> Path:
    """A file of probabilities with another column, whose cells are these."""
    rest = {"text": [f"x{row}" for row in range(len(cells))], "pear": ["0.25"] * len(cells)}
    pl.DataFrame({**rest, "plum": ["0.75"] * len(cells), column: cells}).write_csv(folder / "a.csv")
    return folder / "a.csv"


@pytest.mark.parametrize("cell", ["high", "90%", "0,5", "n/a", "nan"])
def test_a_bad_cell_does_not_make_its_column_no_label(tmp_path: Path, cell: str) -> None:
    path = wide(tmp_path, "rare", [*["0.0004"] * 6, cell, "", "0"])
    with pytest.raises(MukiError, match=f"row 7, column 'rare' holds '{cell}'") as error:
        read(path)
    assert error.value.fix.startswith("Write ")
    assert error.value.fix.endswith("; if 'rare' is no label, list the labels in teachers.vendor.labels")
    assert read(path, labels=["pear", "plum"]).labels == ("pear", "plum")


def test_a_bad_cell_beside_a_column_of_the_best_label_is_named(tmp_path: Path) -> None:
    lines = ["text,label,pear,plum", "x,pear,0.75,0.25", "y,plum,high,0.75"]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    with pytest.raises(MukiError, match="row 2, column 'pear' holds 'high'"):
        read(tmp_path / "a.csv")


@pytest.mark.parametrize(
    "cells",
    [
        ["0.5", "high", "low", ""],
        ["2024-01-01", "2024-01-02", "2024-01-03"],
        ["a1", "b2", "0"],
        ["17", "230", "n/a", "1"],
        ["", "", ""],
    ],
)
def test_columns_of_something_else_are_no_labels(tmp_path: Path, cells: list[str]) -> None:
    answers = read(wide(tmp_path, "other", cells))
    assert answers.labels == ("pear", "plum")
    assert answers.read_as.endswith("columns not used: 'other'")


def test_labels_that_predict_wrote_with_an_apostrophe_are_read_without_it(tmp_path: Path) -> None:
    pl.DataFrame({"text": ["x", "y"]}).write_csv(tmp_path / "0.csv")
    classifier = Certain("yes")
    classifier.labels, classifier.label = ("-1", "1"), "-1"
    classify_file(classifier, Request(tmp_path / "0.csv", tmp_path / "1.csv", "text", every_label=False))
    assert "'-1" in (tmp_path / "1.csv").read_text()
    assert first(read(tmp_path / "1.csv", labels=["-1", "1"])) == {"-1": 0.9, "1": 0.1}
    (tmp_path / "2.csv").write_text("text,label\nx,'-1\ny,1\n")
    assert read(tmp_path / "2.csv").labels == ("-1", "1")
    assert read(tmp_path / "2.csv", labels=["'-1", "1"]).unknown_rows == 0, "a label of that very name is meant"


def test_a_column_that_is_named_is_part_of_the_digest(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,predicted label,predicted probability,probability\nx,yes,0.6,0.9\n")
    plain, named = {"labels": ["no", "yes"]}, {"labels": ["no", "yes"], "probability": "probability"}
    assert first(read(tmp_path / "a.csv", **plain)) == {"no": 0.4, "yes": 0.6}
    assert first(read(tmp_path / "a.csv", **named)) == {"no": 0.1, "yes": 0.9}
    digests = {answers_digest(AnswerFile(answers="a.csv", **each), tmp_path) for each in (plain, named)}
    assert len(digests) == 2
    found = find_teacher("vendor", "a.csv", tmp_path, settings=named)
    assert "probability: probability" in render(
        Texts("a.csv", "text"), None, [found], Lengths(8, 8), {"model": "m"}, []
    )


PANDAS = {"text": ["x", "y", "z"], "label": ["a", "b", "a"], "a": [0.9, 0.2, 0.6], "b": [0.1, 0.8, 0.4]}


def test_a_row_without_a_label_leaves_the_probabilities_of_the_others(tmp_path: Path) -> None:
    frame = pl.DataFrame(PANDAS | {"label": ["a", "b", ""], "a": [0.9, 0.2, None], "b": [0.1, 0.8, None]})
    frame.write_parquet(tmp_path / "v.parquet")
    assert first(read(tmp_path / "v.parquet", most_unanswered=0.5)) == {"a": 0.9, "b": 0.1}


@pytest.mark.parametrize("other", ["none", "c"])
def test_a_label_without_a_column_beside_others_with_one_is_refused(tmp_path: Path, other: str) -> None:
    pl.DataFrame(PANDAS | {"label": ["a", "b", other]}).write_csv(tmp_path / "v.csv")
    with pytest.raises(MukiError, match=rf"'label' holds '{other}', of which there is no column of probabilities"):
        read(tmp_path / "v.csv")
    assert first(read(tmp_path / "v.csv", labels=["a", "b"])) == {"a": 0.9, "b": 0.1}


def test_labels_in_another_case_than_their_columns_are_refused(tmp_path: Path) -> None:
    pl.DataFrame(PANDAS | {"label": ["A", "B", "A"]}).write_csv(tmp_path / "v.csv")
    with pytest.raises(MukiError, match=r"'label' holds 'A', 'B', of which"):
        read(tmp_path / "v.csv")


@pytest.mark.parametrize("begin", [0, 1])
def test_a_column_of_ids_that_counts_rows_is_no_label(tmp_path: Path, begin: int) -> None:
    rows = {name: values for name, values in PANDAS.items() if name != "label"}
    pl.DataFrame({"id": range(begin, begin + 3)} | rows).write_csv(tmp_path / "v.csv")
    assert first(read(tmp_path / "v.csv")) == {"a": 0.9, "b": 0.1}
