from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipeline.deployment import classify
from pipeline.deployment.classify import classify_file
from pipeline.errors import MukiError
from pipeline.models.students import LoadedStudent, load_student
from pipeline.tables.folders import seal_folder
from tests import tiny
from tests.recorder import Recorder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tiny.save_teacher(tmp_path_factory.mktemp("student") / "student", ["apple", "=pear()", "plum"])
    seal_folder(folder)
    return folder


@pytest.fixture(scope="module")
def student(folder: Path) -> LoadedStudent:
    return load_student(folder, "cpu")


def write(path: Path, rows: int = 25) -> pl.DataFrame:
    frame = pl.DataFrame({"number": range(rows), "body": tiny.texts(rows)})
    frame.write_parquet(path)
    return frame


@pytest.mark.parametrize("ending", [".parquet", ".csv"])
def test_columns_stay_and_labels_are_added(tmp_path: Path, folder: Path, student: LoadedStudent, ending: str) -> None:
    frame = write(tmp_path / "in.parquet")
    out = tmp_path / f"out{ending}"
    assert classify_file(student, folder, tmp_path / "in.parquet", out, "body", every_label=True) == 25
    found = pl.read_parquet(out) if ending == ".parquet" else pl.read_csv(out)
    assert found["number"].to_list() == frame["number"].to_list()
    logits = student.logits(frame["body"].to_list())
    named = found["label"].str.strip_prefix("'").to_list()  # what a spreadsheet would run is quoted
    assert named == [student.labels[column] for column in logits.argmax(axis=1)]
    columns = [f"probability of {label}" for label in student.labels]
    np.testing.assert_allclose(found.select(columns).sum_horizontal().to_numpy(), 1, rtol=1e-5)
    assert list(tmp_path.glob(".*")) == []


def test_a_killed_run_goes_on(
    tmp_path: Path, folder: Path, student: LoadedStudent, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "in.parquet")
    monkeypatch.setattr(classify, "ROWS", 10)
    out = tmp_path / "out.parquet"

    class Killed(Exception):
        pass

    def stop(done: int) -> None:
        if done > 20:
            raise Killed

    with pytest.raises(Killed):
        classify_file(student, folder, tmp_path / "in.parquet", out, "body", progress=Recorder(stop))
    assert not out.exists()
    asked: list[int] = []
    logits = LoadedStudent.logits
    monkeypatch.setattr(
        LoadedStudent, "logits", lambda self, texts, task: asked.append(len(texts)) or logits(self, texts, task)
    )
    classify_file(student, folder, tmp_path / "in.parquet", out, "body")
    assert asked == [5]
    assert len(pl.read_parquet(out)) == 25


def test_mistakes_are_told(tmp_path: Path, folder: Path, student: LoadedStudent) -> None:
    write(tmp_path / "in.parquet")
    pl.DataFrame({"label": ["x"], "body": [None], "n": [1]}, schema_overrides={"body": pl.String}).write_parquet(
        tmp_path / "odd.parquet"
    )
    for source, column, out, message in (
        ("in", "text", "o.csv", "has no column 'text'"),
        ("in", "number", "o.csv", "not texts"),
        ("in", "body", "o.xlsx", "no known kind of file"),
        ("odd", "body", "o.csv", r"is empty \(null\) in 1 rows, first in row 1"),
        ("nothing", "body", "o.csv", "regular file"),
        ("in", "body", "in.parquet", "is the file with the texts"),
    ):
        with pytest.raises(MukiError, match=message):
            classify_file(student, folder, tmp_path / f"{source}.parquet", tmp_path / out, column)
    pl.DataFrame({"label": ["x"], "body": ["w1"]}).write_parquet(tmp_path / "odd.parquet")
    with pytest.raises(MukiError, match="already has columns 'label'"):
        classify_file(student, folder, tmp_path / "odd.parquet", tmp_path / "o.csv", "body")
