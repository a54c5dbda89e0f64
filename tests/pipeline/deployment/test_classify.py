from datetime import timedelta
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import polars as pl
import pytest

from muki_pipeline.corpus.formats import read_table
from muki_pipeline.deployment import classify
from muki_pipeline.deployment.classify import Request, classify_file
from muki_pipeline.errors import MukiError
from muki_pipeline.models.loaded.student import LoadedStudent, load_student
from muki_pipeline.store.folders import seal_folder
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


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".tsv", ".jsonl", ".xlsx"])
def test_columns_stay_and_labels_are_added(tmp_path: Path, folder: Path, student: LoadedStudent, ending: str) -> None:
    frame = write(tmp_path / "in.parquet")
    request = Request(tmp_path / "in.parquet", tmp_path / f"out{ending}", "body", every_label=True)
    columns = classify_file(student, request)
    assert columns[:2] == ["label", "probability"]
    found = read_table(request.target).with_columns(pl.col("number").cast(pl.Int64))
    assert found["number"].to_list() == frame["number"].to_list()
    logits = student.logits(frame["body"].to_list())
    named = found["label"].str.strip_prefix("'").to_list()  # what a spreadsheet would run is quoted
    assert named == [student.labels[column] for column in logits.argmax(axis=1)]
    named = [f"probability of {label}" for label in student.labels]
    assert columns[2:] == named
    np.testing.assert_allclose(found.select(pl.col(named).cast(pl.Float64)).sum_horizontal(), 1, rtol=1e-5)
    assert list(tmp_path.glob(".*")) == []


def test_a_column_called_label_stays(tmp_path: Path, folder: Path, student: LoadedStudent) -> None:
    path = tmp_path / "in.parquet"
    write(path).with_columns(label=pl.lit("gold"), body=pl.col("body").cast(pl.Categorical)).write_parquet(path)
    columns = classify_file(student, Request(path, tmp_path / "out.parquet", "body"))
    found = pl.read_parquet(tmp_path / "out.parquet")
    assert columns == ["predicted label", "predicted probability"]
    assert found["label"].unique().to_list() == ["gold"]
    assert set(found["predicted label"]) <= set(student.labels)


def test_no_text_of_a_sheet_becomes_a_formula(tmp_path: Path, folder: Path, student: LoadedStudent) -> None:
    pl.DataFrame({"body": ["=1+1", "https://example.org"]}).write_parquet(tmp_path / "in.parquet")
    classify_file(student, Request(tmp_path / "in.parquet", tmp_path / "out.xlsx", "body"))
    assert read_table(tmp_path / "out.xlsx")["body"].to_list() == ["=1+1", "https://example.org"]
    with ZipFile(tmp_path / "out.xlsx") as book:
        assert b"<f>" not in book.read("xl/worksheets/sheet1.xml")


def test_a_killed_run_goes_on(
    tmp_path: Path, folder: Path, student: LoadedStudent, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "in.parquet")
    monkeypatch.setattr(classify, "ROWS", 10)
    request = Request(tmp_path / "in.parquet", tmp_path / "out.parquet", "body")

    class Killed(Exception):
        pass

    parts: list[int] = []

    def stop(done: int) -> None:
        parts.append(done)
        if len(parts) > 2:
            raise Killed

    with pytest.raises(Killed):
        classify_file(student, request, Recorder(stop))
    assert not request.target.exists()
    asked: list[int] = []
    logits = LoadedStudent.logits
    monkeypatch.setattr(
        LoadedStudent, "logits", lambda self, texts, task: asked.append(len(texts)) or logits(self, texts, task)
    )
    classify_file(student, request)
    assert asked == [5]
    assert len(pl.read_parquet(request.target)) == 25


ODD = {
    "null": pl.DataFrame({"body": [None], "n": [1]}, schema_overrides={"body": pl.String}),
    "empty": pl.DataFrame({"body": []}, schema={"body": pl.String}),
    "nested": pl.DataFrame({"body": ["w1"], "tags": [["a"]]}),
    "binary": pl.DataFrame({"body": ["w1"], "raw": [b"a"]}),
    "duration": pl.DataFrame({"body": ["w1"], "took": [timedelta(1)]}),
    "long": pl.DataFrame({"body": ["w1 " * 20_000]}),
}


def test_mistakes_are_told_before_any_work(
    tmp_path: Path, folder: Path, student: LoadedStudent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LoadedStudent, "logits", None)
    write(tmp_path / "in.parquet")
    for name, frame in ODD.items():
        frame.write_parquet(tmp_path / f"{name}.parquet")
    (tmp_path / "there.csv").write_text("kept")
    for source, column, out, message in (
        ("in", "text", "o.csv", "has no column 'text'"),
        ("in", "number", "o.csv", "which cannot be texts"),
        ("in", "body", "o.docx", "no known kind of file"),
        ("null", "body", "o.csv", r"is empty \(null\) in row 1"),
        ("empty", "body", "o.csv", "holds no text"),
        ("nothing", "body", "o.csv", "no such file"),
        ("in", "body", "in.parquet", "is the file with the texts"),
        ("in", "body", "there.csv", "is there already. Name another file, or overwrite it with --force"),
        ("nested", "body", "o.csv", r"column tags holds List\(String\), which a .csv file cannot hold"),
        ("binary", "body", "o.jsonl", "column raw holds Binary"),
        ("duration", "body", "o.xlsx", "column took holds Duration"),
        ("long", "body", "o.xlsx", "32,767 characters in a cell at most"),
    ):
        request = Request(tmp_path / f"{source}.parquet", tmp_path / out, column)
        with pytest.raises(MukiError, match=message):
            classify_file(student, request)
    assert (tmp_path / "there.csv").read_text() == "kept"
    assert list(tmp_path.glob(".*")) == []


def test_a_file_that_is_there_is_replaced_on_request(tmp_path: Path, folder: Path, student: LoadedStudent) -> None:
    write(tmp_path / "in.parquet")
    (tmp_path / "out.csv").write_text("old")
    classify_file(student, Request(tmp_path / "in.parquet", tmp_path / "out.csv", "body", force=True))
    assert len(read_table(tmp_path / "out.csv")) == 25
