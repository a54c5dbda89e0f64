"""Files as other programs write them: read as they were meant, or refused."""

import csv
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import pandas as pd
import polars as pl
import pytest
from hypothesis import strategies as st

from muki_pipeline.corpus.dialects import Dialect, has_header
from muki_pipeline.corpus.formats import describe_dialect, full_dialect, read_table
from muki_pipeline.errors import MukiError

NASTY = st.text(st.sampled_from("ab ,;|\t\"'\\\n\r=.é\u0301\u2028{}[]#:-0"), max_size=12)
ROWS = st.lists(st.tuples(NASTY, st.sampled_from(["no", "Café", "a b", "x;y", "1"])), min_size=1, max_size=6)
NAMES = ["body", "topic"]


def by_csv(rows: list[Any], **dialect: Any) -> str:
    content = io.StringIO(newline="")
    csv.writer(content, **dialect).writerows([NAMES, *rows])
    return content.getvalue()


def by_pandas(rows: list[Any], **options: Any) -> str:
    return pd.DataFrame(rows, columns=NAMES).to_csv(index=False, **options)


def by_polars(rows: list[Any], **options: Any) -> str:
    return pl.DataFrame(rows, schema=NAMES, orient="row").write_csv(**options)


def by_excel(rows: list[Any]) -> str:
    return "\ufeff" + by_csv(rows, delimiter=";", lineterminator="\r\n")


def by_spark(rows: list[Any]) -> str:
    """Quotes where they are needed, and a backslash before each quote inside; other backslashes stay as they are."""

    def field(text: str) -> str:
        is_quoted = any(character in text for character in ',"\n\r') or not text
        return '"' + text.replace('"', '\\"') + '"' if is_quoted else text

    return "".join(",".join(map(field, row)) + "\n" for row in [NAMES, *rows])


WRITERS: dict[str, tuple[str, Callable[[list[Any]], str]]] = {
    "csv": (".csv", by_csv),
    "csv, semicolons": (".csv", lambda rows: by_csv(rows, delimiter=";")),
    "csv, bars, all quoted": (".csv", lambda rows: by_csv(rows, delimiter="|", quoting=csv.QUOTE_ALL)),
    "csv, tabs": (".tsv", lambda rows: by_csv(rows, delimiter="\t")),
    "csv, old Mac": (".csv", lambda rows: by_csv(rows, lineterminator="\r", quoting=csv.QUOTE_ALL)),
    "csv, backslashes": (".csv", lambda rows: by_csv(rows, doublequote=False, escapechar="\\")),
    "pandas": (".csv", by_pandas),
    "pandas, semicolons": (".csv", lambda rows: by_pandas(rows, sep=";")),
    "pandas, tabs": (".tsv", lambda rows: by_pandas(rows, sep="\t")),
    "pandas, all quoted": (".csv", lambda rows: by_pandas(rows, quoting=csv.QUOTE_ALL)),
    "polars": (".csv", by_polars),
    "polars, tabs": (".tsv", lambda rows: by_polars(rows, separator="\t")),
    "Excel": (".csv", by_excel),
    "Excel with sep=": (".csv", lambda rows: "sep=;\r\n" + by_excel(rows)[1:]),
    "Spark": (".csv", by_spark),
}
SURE = {"csv, bars, all quoted", "pandas, all quoted"}
"""Where every field is in quotes, nothing is left open."""


NAMED = Dialect(header=True)


def read(folder: Path, name: str, content: str, dialect: Dialect = NAMED) -> list[Any]:
    path = folder / name
    path.write_bytes(content.encode())
    return read_table(path, NAMES, dialect).rows()


@pytest.mark.parametrize("writer", WRITERS)
@hypothesis.given(rows=ROWS)
@hypothesis.settings(
    deadline=None, derandomize=True, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)
def test_what_others_write_comes_back_equal_or_is_refused(tmp_path: Path, writer: str, rows: list[Any]) -> None:
    ending, write = WRITERS[writer]
    try:
        found = read(tmp_path, f"a{ending}", write(rows))
    except MukiError:
        assert writer not in SURE or any("\\" in text for text, _ in rows)
        return
    # What is not in quotes and empty is no text: it is refused where texts are read.
    assert all(
        text == text_before or (text is None and not text_before)
        for row, before in zip(found, rows, strict=True)
        for text, text_before in zip(row, before, strict=True)
    )


TEXTS = [('she said "no", twice', "no"), ("a; b | c", "Café"), ("two\nlines", "a b"), ("plain", "no"), ("=1", "x")]


@pytest.mark.parametrize("writer", WRITERS)
def test_common_texts_are_read_whoever_wrote_them(tmp_path: Path, writer: str) -> None:
    ending, write = WRITERS[writer]
    assert read(tmp_path, f"a{ending}", write(TEXTS)) == TEXTS


def test_the_reading_is_told(tmp_path: Path) -> None:
    (tmp_path / "mails.csv").write_bytes(by_excel(TEXTS).encode())
    dialect = full_dialect(tmp_path / "mails.csv")
    assert dialect == Dialect(";", "doubled", True)
    assert describe_dialect(dialect, 3) == "semicolons, quotes doubled, 3 columns"
    (tmp_path / "texts.csv").write_text("where is it?\nI want my money back.\n")
    dialect = full_dialect(tmp_path / "texts.csv")
    assert dialect is not None
    assert describe_dialect(dialect, 1) == "commas, quotes doubled, 1 column, no header"
    (tmp_path / "a.jsonl").write_text("{}\n")
    assert full_dialect(tmp_path / "a.jsonl") is None


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "body,topic;x\na,b;c\n", "can be read with commas and with semicolons. Set delimiter and quote"),
        ("a.csv", "body\nhello, world\n", "cannot be read with commas: line 2 has 2 fields, and the first one 1"),
        ("a.csv", 'body,topic\n"a" b,c\n', r"line 2 has quotes that do not fit \(',' expected after"),
        ("a.csv", 'body,topic\n"open,c\n', "has quotes that do not fit"),
        ("a.csv", "body,topic\na,b\nc,d,e\n", "line 3 has 3 fields, and the first one 2"),
        ("a.csv", 'body,topic\n"a \\"b\\", C:\\new",x\n', "line 2 holds one that escapes no quote"),
        ("a.csv", 'body,topic\n"\\"\\",no\n"",no\n', "cannot be read with commas: line 2 has quotes that do not fit"),
        ("a.csv", 'body,topic\n"C:\\dir\\",x\n', "can be read with quotes doubled and with quotes escaped"),
        ("a.csv", 'body,topic\na \\"b\\",x\n', "can be read with quotes doubled and with quotes escaped"),
        ("a.tsv", 'body\ttopic\n"a"\tb\n', "can be read with quotes doubled and with quotes as text"),
        ("a.csv", "body\na\rb\nc\n", "line 2 ends otherwise than those before it"),
        ("a.csv", "body\na\n\nb\n", "line 3 is blank"),
        ("a.csv", "body,body\na,b\n", "has two columns called 'body'"),
    ],
)
def test_what_is_ambiguous_or_broken_is_refused_with_its_line(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    with pytest.raises(MukiError, match=message):
        read(tmp_path, name, content)


def test_settings_decide_what_is_ambiguous(tmp_path: Path) -> None:
    content = 'body\ttopic\n"a"\tb\n'
    assert read(tmp_path, "a.tsv", content, Dialect(quote="none", header=True)) == [('"a"', "b")]
    assert read(tmp_path, "a.tsv", content, Dialect(quote="doubled", header=True)) == [("a", "b")]
    escaped = 'body,topic\n"a \\"b\\", C:\\\\new",x\n'
    assert read(tmp_path, "a.csv", escaped, Dialect(quote="escaped", header=True)) == [('a "b", C:\\new', "x")]
    assert read(tmp_path, "a.csv", "body;topic,x\n1;2,3\n", Dialect(delimiter=";", header=True)) == [("1",)]


def test_an_empty_field_is_a_text_only_in_quotes(tmp_path: Path) -> None:
    assert read(tmp_path, "a.csv", 'body,topic\n"",a\n,""\n') == [("", "a"), (None, "")]
    assert read(tmp_path, "b.csv", 'body,topic\n"x,""y""",""\n"a,b",\n') == [('x,"y"', ""), ("a,b", None)]


def test_columns_have_numbers_where_no_header_names_them(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("where is it?,lost\nmy money,refund\n")
    assert read_table(tmp_path / "a.csv", ["1"], Dialect(header=False)).to_dict(as_series=False) == {
        "1": ["where is it?", "my money"]
    }


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([["text", "x"], ["a", "b"]], True),
        ([["Nachricht", "Thema"], ["wo ist mein Paket geblieben?", "Lieferung"]], True),
        ([["wo ist es?", "Lieferung"], ["mein Geld", "Geld"]], False),
        ([["hallo", "Geld"], ["mein Geld", "Geld"]], False),
        ([["12", "abc"], ["13", "def"]], False),
        ([["abc", "def"], ["ghi", "jkl"]], None),
    ],
)
def test_a_header_is_told_from_a_text(rows: list[list[str | None]], expected: bool | None) -> None:
    assert has_header(rows) is expected


def test_a_first_row_that_may_be_either_is_asked_about(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("abc,def\nghi,jkl\n")
    with pytest.raises(MukiError, match=r"may have a header or not: its first row is 'abc', 'def'. Say --header or"):
        read_table(tmp_path / "a.csv")


def test_every_format_is_read(tmp_path: Path) -> None:
    frame = pl.DataFrame(TEXTS, schema=NAMES, orient="row")
    frame.write_parquet(tmp_path / "a.parquet")
    frame.write_excel(tmp_path / "a.xlsx")
    (tmp_path / "a.json").write_text(json.dumps(frame.to_dicts()))
    lines = "".join(json.dumps(row) + "\r\n" for row in frame.to_dicts())
    (tmp_path / "a.jsonl").write_text(lines)
    for name, content in {
        "b.csv.gz": frame.write_csv(),
        "b.tsv.gz": by_pandas(TEXTS, sep="\t"),
        "b.jsonl.gz": lines,
    }.items():
        (tmp_path / name).write_bytes(gzip.compress(content.encode()))
    for path in sorted(tmp_path.iterdir()):
        assert read_table(path, NAMES).rows() == TEXTS, path
    (tmp_path / "c.txt").write_text("first text\n second, text\n\n")
    assert read_table(tmp_path / "c.txt")["text"].to_list() == ["first text", " second, text"]


def test_only_wanted_columns_are_parsed(tmp_path: Path) -> None:
    odd = ['{"body": "x", "n": NaN, "m": 1}', '{"body": "y", "m": "z", "d": {"a": [1]}}']
    (tmp_path / "a.jsonl").write_text("\n".join(odd) + "\n")
    assert read_table(tmp_path / "a.jsonl", ["body"]).rows() == [("x",), ("y",)]
    with pytest.raises(MukiError, match=r"row 2, column 'm' holds 'z', which makes no column with.*\(int\)"):
        read_table(tmp_path / "a.jsonl")
    import decimal

    import pyarrow as pa
    import pyarrow.parquet as pq

    big = pa.array([decimal.Decimal(1)], pa.decimal256(50, 2))
    pq.write_table(pa.table({"body": ["x"], "d": big}), tmp_path / "a.parquet")
    assert read_table(tmp_path / "a.parquet", ["body"]).rows() == [("x",)]
    with pytest.raises(MukiError, match="column d holds decimal256"):
        read_table(tmp_path / "a.parquet")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"body": "x"}\n{"body": \n', "line 2 is not valid JSON"),
        ("a.jsonl", b'{"body": "x"}\n["y"]\n', "line 2 holds list, not an object"),
        ("a.json", b'{"body": {"0": "x"}}', r"holds no array. Write an array of objects \(pandas"),
        ("a.csv.gz", b"body\nx\n", "cannot be unpacked"),
        ("a.csv.gz", gzip.compress(b"body\nx\n" * 50, mtime=0)[:-9], "cannot be unpacked"),
        ("a.csv", "body\nx\n".encode("utf-16"), "is UTF-16, not UTF-8"),
        ("a.parquet.gz", b"", r"\.parquet\.gz is not a known format"),
        ("a.xlsx", b"PK", "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_with_its_line(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(MukiError, match=message):
        read_table(tmp_path / name)


def test_a_table_of_another_program_keeps_its_first_rows(tmp_path: Path) -> None:
    (tmp_path / "a.tab").write_text("topic\tbody\na\tfirst\nb\tsecond\nc\tthird\n")
    assert read_table(tmp_path / "a.tab", ["body"])["body"].to_list() == ["first", "second", "third"]


@pytest.mark.parametrize(("name", "content"), [("a.csv", ""), ("a.txt", ""), ("a.txt", "\n\n \n"), ("a.jsonl", "")])
def test_a_file_without_a_row_is_an_empty_table(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    assert read_table(tmp_path / name).is_empty()
    full_dialect(tmp_path / name)
