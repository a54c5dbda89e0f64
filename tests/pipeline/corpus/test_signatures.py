"""Files that are called as text is, and are something else."""

import gzip
import lzma
import sqlite3
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import polars as pl
import pytest

from muki_pipeline.blocks import AnswerFile
from muki_pipeline.corpus.formats import read_table
from muki_pipeline.errors import MukiError
from muki_pipeline.labelling.answer_file.reading import read_answers

FRAME = pl.DataFrame({"text": ["hello", "bye"], "label": ["yes", "no"]})


def zipped(*names: str) -> bytes:
    target = BytesIO()
    with ZipFile(target, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return target.getvalue()


def written(write: Callable[[BytesIO], object]) -> bytes:
    target = BytesIO()
    write(target)
    return target.getvalue()


def database(folder: Path) -> bytes:
    with sqlite3.connect(folder / "a.db") as connection:
        connection.execute("create table answers (text)")
    return (folder / "a.db").read_bytes()


KINDS: dict[str, tuple[Callable[[Path], bytes], str, str]] = {
    "zip": (lambda _: zipped("answers.csv"), "a zip archive", "Unpack it, and name the file that it holds"),
    "half a zip": (lambda _: zipped("answers.csv")[:20], "a zip archive", "Unpack it, and name the file that it holds"),
    "xlsx": (lambda _: zipped("[Content_Types].xml", "xl/workbook.xml"), "an Excel workbook", "Rename it to {}.xlsx"),
    "docx": (lambda _: zipped("word/document.xml"), "a Word document", "Save it as CSV, JSON Lines or Parquet"),
    "ods": (lambda _: zipped("content.xml"), "an OpenDocument file", "Save it as CSV, JSON Lines or Parquet"),
    "gzip": (lambda _: gzip.compress(b"text,label\n"), "packed by gzip", "Rename it to {}.gz"),
    "xz": (lambda _: lzma.compress(b"text,label\n"), "packed by xz", "Unpack it, or pack it by gzip and call it {}.gz"),
    "parquet": (lambda _: written(FRAME.write_parquet), "a Parquet file", "Rename it to {}.parquet"),
    "arrow": (lambda _: written(FRAME.write_ipc), "an Arrow (Feather) file", "Save it as CSV, JSON Lines or Parquet"),
    "SQLite": (database, "an SQLite database", "Save it as CSV, JSON Lines or Parquet"),
}


@pytest.mark.parametrize("name", ["answers.csv", "answers.jsonl", "answers.tsv", "answers.txt", "answers.json"])
@pytest.mark.parametrize("kind", KINDS)
def test_another_kind_of_file_is_named_with_what_to_do(tmp_path: Path, kind: str, name: str) -> None:
    make, what, fix = KINDS[kind]
    (tmp_path / name).write_bytes(make(tmp_path))
    with pytest.raises(MukiError) as error:
        read_answers("vendor", AnswerFile(answers=name), tmp_path)
    assert error.value.what == f"is {what}, not the text that {Path(name).suffix} stands for"
    assert error.value.where == str(tmp_path / name)
    assert error.value.fix == fix.format(name)


def test_what_was_packed_is_looked_at_too(tmp_path: Path) -> None:
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(written(FRAME.write_parquet)))
    with pytest.raises(MukiError, match=r"a\.csv\.gz: is a Parquet file, not the text that \.csv\.gz stands for"):
        read_table(tmp_path / "a.csv.gz")


def test_other_bytes_that_are_no_text_are_called_binary(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones(3))
    (tmp_path / "a.npy").rename(tmp_path / "a.csv")
    with pytest.raises(MukiError, match=r"a\.csv: is a binary file, not text\. Name a file of text"):
        read_table(tmp_path / "a.csv")


def test_texts_may_begin_as_such_files_do(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\nPAR1,PK\n%PDF-,BZh\n")
    assert read_table(tmp_path / "a.csv").rows() == [("PAR1", "PK"), ("%PDF-", "BZh")]
    for start in ("PAR1", "%PDF-1.7", "BZhang"):
        (tmp_path / "a.txt").write_text(f"{start} is a text\n")
        assert read_table(tmp_path / "a.txt")["text"].to_list() == [f"{start} is a text"]


def test_text_of_two_bytes_a_letter_is_refused_without_its_mark(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("text\nhello\nbye\n".encode("utf-16-le"))
    with pytest.raises(MukiError, match=r"seems to be UTF-16, not UTF-8\. Convert it, with iconv -f UTF-16LE"):
        read_table(tmp_path / "a.csv")
    (tmp_path / "b.csv").write_text("text,label\na zero \0 byte in a long line,yes\n")
    assert read_table(tmp_path / "b.csv")["label"].to_list() == ["yes"]
