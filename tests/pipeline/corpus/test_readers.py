from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from muki_pipeline.blocks import Source
from muki_pipeline.corpus.formats import READERS
from muki_pipeline.corpus.readers import describe, read_source, watched
from muki_pipeline.errors import MukiError

ROWS = [{"body": 'she said "no", twice', "topic": "a"}, {"body": "", "topic": "b"}, {"body": "ünï", "topic": "a"}]


def read(root: Path, name: str, **others: Any) -> pl.DataFrame:
    return read_source(Source(source=name, text="body", label="topic", **others), root)


def expected() -> pl.DataFrame:
    return pl.DataFrame({"text": [row["body"] for row in ROWS], "label": [row["topic"] for row in ROWS]})


def test_every_format_gives_the_same_texts(tmp_path: Path) -> None:
    frame = pl.DataFrame(ROWS)
    frame.write_csv(tmp_path / "a.csv")
    frame.write_ndjson(tmp_path / "a.jsonl")
    frame.write_parquet(tmp_path / "a.parquet")
    for name in ("a.csv", "a.jsonl", "a.parquet"):
        assert read(tmp_path, name).equals(expected()), name


def test_the_settings_name_every_format() -> None:
    assert [ending for ending in READERS if ending not in str(Source.model_fields["source"].description)] == []


def test_tabulated_files_take_quotes_as_text(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text('topic\tbody\na\tshe said "no"\n')
    assert read(tmp_path, "a.tsv")["text"].to_list() == ['she said "no"']


def test_orange_headers_are_skipped(tmp_path: Path) -> None:
    (tmp_path / "a.tab").write_text("topic\tbody\nd\tstring\nclass\t\n\na\tfirst\nb\tsecond\n")
    assert read(tmp_path, "a.tab").rows() == [("first", "a"), ("second", "b")]


def test_numbers_in_a_csv_stay_text(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("topic,body\n1,007\n2,8\n")
    assert read(tmp_path, "a.csv").rows() == [("007", "1"), ("8", "2")]


def test_a_null_text_is_refused_with_its_row(tmp_path: Path) -> None:
    pl.DataFrame({"body": ["x", None, None], "topic": ["a", "b", "c"]}).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(MukiError, match=r"column body is empty \(null\) in 2 rows, first in row 2"):
        read(tmp_path, "a.parquet")


def test_text_that_is_not_utf8_is_refused_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"topic,body\na,fine\nb,caf\xe9\n")
    with pytest.raises(MukiError, match=r"a\.csv: line 3 is not UTF-8"):
        read(tmp_path, "a.csv")
    broken = pa.StringArray.from_buffers(1, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xe9"))
    pq.write_table(pa.table({"body": broken, "topic": ["a"]}), tmp_path / "a.parquet")
    with pytest.raises(MukiError, match=r"a\.parquet: cannot be read .*UTF"):
        read(tmp_path, "a.parquet")


def test_other_faults_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("topic,text\na,b\n")
    (tmp_path / "empty.csv").write_text("topic,body\n")
    (tmp_path / "a.docx").write_text("x")
    (tmp_path / "broken.jsonl").write_text('{"body": \n')
    pl.DataFrame({"body": [1, 2], "topic": ["a", "b"]}).write_parquet(tmp_path / "numbers.parquet")
    for name, message in {
        "a.csv": "has no column 'body'",
        "empty.csv": "holds no text",
        "a.docx": r"\.docx is not a known format\. Use \.csv, .* \.parquet or \.xlsx\.$",
        "broken.jsonl": "line 1 is not valid JSON",
        "nowhere.csv": "no such file",
        "texts/*.csv": "no file fits this pattern",
        "numbers.parquet": "column body holds Int64, which cannot be texts",
        "./nowhere.csv": "no such file",
        "package:no-such-package/x.csv": "no-such-package is not installed",
        "package:pytest/x.csv": r"pytest contains no x\.csv",
    }.items():
        with pytest.raises(MukiError, match=message):
            read(tmp_path, name)


def test_a_data_set_that_cannot_be_had_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MukiError, match="neither a file nor a data set that can be loaded"):
        read(tmp_path, "no_such_owner/no_such_data_set")


def test_a_data_set_by_name_gives_its_label_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from datasets import ClassLabel, Dataset, Features, Value

    features = Features({"body": Value("string"), "topic": ClassLabel(names=["b", "a"])})
    data = Dataset.from_dict({"body": ["x", "y"], "topic": [1, 0]}, features=features)
    asked: list[Any] = []

    def load_dataset(*args: Any, **kwargs: Any) -> Dataset:
        asked.append((args, kwargs))
        return data

    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    frame = read(tmp_path, "owner/set", config="plus", split="validation")
    assert frame.rows() == [("x", "a"), ("y", "b")]
    assert asked == [(("owner/set", "plus"), {"split": "validation"})]


@pytest.mark.parametrize("error", [RuntimeError, type("DatasetGenerationError", (Exception,), {})])
def test_whatever_the_library_of_data_sets_refuses_in_is_a_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def load_dataset(*arguments: Any, **more: Any) -> None:
        raise error("Dataset scripts are no longer supported")

    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    with pytest.raises(MukiError, match=r"owner/set: is neither a file nor .*scripts are no longer supported"):
        read(tmp_path, "owner/set")


def test_a_data_set_whose_labels_are_withheld_is_refused_with_its_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datasets import ClassLabel, Dataset, Features, Value

    features = Features({"body": Value("string"), "topic": ClassLabel(names=["a", "b"])})
    data = Dataset.from_dict({"body": ["x", "y"], "topic": [0, -1]}, features=features)
    monkeypatch.setattr("datasets.load_dataset", lambda *arguments, **more: data)
    with pytest.raises(MukiError, match=r"topic is empty \(null\) in row 2\. Name another split"):
        read(tmp_path, "owner/set")


@pytest.mark.parametrize("half", [r"\ud800", r"\udc00x", r"a \uD83D b"])
def test_half_of_a_surrogate_pair_is_refused_with_its_line(tmp_path: Path, half: str) -> None:
    lines = ['{"body": "fine \\ud83d\\ude00", "topic": "a"}', f'{{"body": "{half}", "topic": "b"}}']
    (tmp_path / "a.jsonl").write_text("\n".join(lines) + "\n")
    with pytest.raises(MukiError, match="line 2 holds half of a surrogate pair"):
        read(tmp_path, "a.jsonl")
    (tmp_path / "a.jsonl").write_text(lines[0] + "\n")
    assert read(tmp_path, "a.jsonl")["text"].to_list() == ["fine 😀"]


def test_categories_marks_and_empty_lines_are_read_as_what_they_stand_for(tmp_path: Path) -> None:
    frame = pl.DataFrame([*ROWS[:2], {"body": "c", "topic": "b"}])
    frame.with_columns(pl.col("topic", "body").cast(pl.Categorical)).write_parquet(tmp_path / "a.parquet")
    assert read(tmp_path, "a.parquet").rows() == frame.select("body", "topic").rows()
    (tmp_path / "a.jsonl").write_bytes(b'\xef\xbb\xbf{"body": "x", "topic": "a"}\n')
    assert read(tmp_path, "a.jsonl").rows() == [("x", "a")]
    (tmp_path / "a.csv").write_text("topic,body\na,x\n\n\n")
    assert read(tmp_path, "a.csv").rows() == [("x", "a")]


def test_an_empty_text_in_a_tsv_or_a_sheet_is_told_with_a_remedy_that_works_there(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("topic\tbody\na\tx\nb\t\n")
    pl.DataFrame({"topic": ["a", "b"], "body": ["x", None]}).write_excel(tmp_path / "a.xlsx")
    for name in ("a.tsv", "a.xlsx"):
        with pytest.raises(MukiError, match="use a CSV file"):
            read(tmp_path, name)


def test_brackets_are_part_of_a_name(tmp_path: Path) -> None:
    root = tmp_path / "[2024] project"
    (root / "[old] texts").mkdir(parents=True)
    (root / "mails1.csv").write_text("topic,body\na,wrong\n")
    with pytest.raises(MukiError, match=r"mails\[1\]\.csv: no such file"):
        read(root, "mails[1].csv")
    (root / "mails[1].csv").write_text("topic,body\na,right\n")
    assert read(root, "mails[1].csv")["text"].to_list() == ["right"]
    for number in (1, 2):
        (root / "[old] texts" / f"a{number}.csv").write_text(f"topic,body\na,text {number}\n")
    assert read(root, "[old] texts/a?.csv")["text"].to_list() == ["text 1", "text 2"]
    (root / "[new] a.csv").write_text("topic,body\na,new\n")
    (root / "n a.csv").write_text("topic,body\na,wrong\n")
    assert read(root, "[new] *.csv")["text"].to_list() == ["new"]
    assert watched("[old] texts/a?.csv", root) == root / "[old] texts"
    assert watched("mails[1].csv", root) == Path("mails[1].csv")
    assert watched("owner/name", root) is None


def test_labels_are_compared_in_one_form_without_outer_blanks(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("topic,body\n Cafe\u0301 ,x\nCaf\u00e9,y\n")
    assert read(tmp_path, "a.csv")["label"].to_list() == ["Caf\u00e9"] * 2


def test_a_file_without_a_header_is_read_by_numbers(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a;where is it?\nb;my money\n")
    source = Source.model_validate({"source": "a.csv", "text": 2, "label": 1, "header": False})
    assert read_source(source, tmp_path).rows() == [("where is it?", "a"), ("my money", "b")]
    assert describe(source, tmp_path) == [f"{tmp_path / 'a.csv'}: semicolons, quotes doubled, 2 columns, no header"]
    with pytest.raises(MukiError, match=r"Choose from 'a', 'where is it\?'; correct prepare, or set header: false"):
        read_source(Source(source="a.csv", text="text"), tmp_path)


def test_columns_that_nobody_asked_for_may_hold_anything(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("topic,body,note,note\na,x,1,2\n")
    source = Source(source="a.csv", text="body", label="topic")
    assert read_source(source, tmp_path).rows() == [("x", "a")]
    assert describe(source, tmp_path) == [f"{tmp_path / 'a.csv'}: commas, quotes doubled, 4 columns"]
    (tmp_path / "a.jsonl").write_text('{"bdy": "x", "topic": "a", "note": 1}\n{"bdy": "y", "note": "z"}\n')
    for name in ("a.jsonl", "a.csv"):
        with pytest.raises(MukiError, match=r"has no column 'text'\. Choose from '(bdy|topic)', "):
            read_source(Source(source=name, text="text"), tmp_path)


def test_a_sheet_without_a_header_is_told_that_it_may_have_none(tmp_path: Path) -> None:
    pl.DataFrame({"a": ["where is it?", "my money"]}).write_excel(tmp_path / "a.xlsx", include_header=False)
    with pytest.raises(MukiError, match="or set header: false if these are texts"):
        read_source(Source(source="a.xlsx", text="text"), tmp_path)
    assert read_source(Source(source="a.xlsx", text="1", header=False), tmp_path)["text"][0] == "where is it?"
