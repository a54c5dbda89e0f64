"""Cells that are no answers: the first of a file is named, whatever its format."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from muki_pipeline.blocks import AnswerFile
from muki_pipeline.errors import MukiError
from muki_pipeline.labelling.answer_file.reading import read_answers

FORMATS = ["a.csv", "a.tsv", "a.jsonl", "a.json", "a.parquet"]


def refused(folder: Path, name: str, rows: list[dict[str, Any]], **settings: Any) -> MukiError:
    """The error for a file with these rows."""
    path = folder / name
    if name.endswith(".jsonl"):
        path.write_text("\n".join(map(json.dumps, rows)))
    elif name.endswith(".json"):
        path.write_text(json.dumps(rows))
    elif name.endswith(".parquet"):
        pl.DataFrame(rows).write_parquet(path)
    else:
        pl.DataFrame(rows).write_csv(path, separator="\t" if name.endswith(".tsv") else ",")
    with pytest.raises(MukiError) as error:
        read_answers("vendor", AnswerFile(answers=name, **settings), folder)
    assert error.value.where == str(path)
    return error.value


@pytest.mark.parametrize("name", FORMATS)
def test_the_first_bad_cell_of_a_file_is_named_and_not_that_of_its_first_column(tmp_path: Path, name: str) -> None:
    good = {"text": "x", "a": 0.5, "b": 0.5}
    rows = [good, good | {"b": 2.5}, good | {"a": -1.0}, good | {"a": 7.0, "b": 8.0}]
    what = refused(tmp_path, name, rows).what.replace("'2.5'", "2.5")
    assert what == "row 2, column 'b' holds 2.5, which is no probability"
    what = refused(tmp_path, name, [good, good | {"a": 7.0, "b": 8.0}]).what.replace("'7.0'", "7.0")
    assert what == "row 2, column 'a' holds 7.0, which is no probability"


@pytest.mark.parametrize("name", FORMATS)
def test_the_first_cell_that_is_no_number_is_named(tmp_path: Path, name: str) -> None:
    rows = [{"text": "x", "a": "0.5", "b": "0.5"}, {"text": "y", "a": "0.5", "b": "low"}]
    rows += [{"text": "z", "a": "high", "b": "0.5"}]
    error = refused(tmp_path, name, rows, labels=["a", "b"])
    assert error.what == "row 2, column 'b' holds 'low', which is no probability"


@pytest.mark.parametrize("name", FORMATS)
def test_the_first_decimal_comma_is_named(tmp_path: Path, name: str) -> None:
    rows = [{"text": "x", "a": "1", "b": "0,5"}, {"text": "y", "a": "0,5", "b": "1"}]
    error = refused(tmp_path, name, rows)
    assert error.what == "row 1, column 'b' holds '0,5', a number with a decimal comma"


def test_a_truth_value_is_no_probability(tmp_path: Path) -> None:
    for name in ("a.jsonl", "a.parquet"):
        error = refused(tmp_path, name, [{"text": "x", "a": True, "b": False}], labels=["a", "b"])
        assert error.what == "row 1, column 'a' holds True, which is no probability"


@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_the_first_value_of_another_kind_is_named(tmp_path: Path, name: str) -> None:
    good = {"text": "x", "a": 0.5, "b": 0.5}
    rows = [good, good, good | {"b": "low"}, good | {"a": "high"}]
    what = refused(tmp_path, name, rows).what
    assert what == "row 3, column 'b' holds 'low', which makes no column with the values before it (float)"
    what = refused(tmp_path, name, [good | {"a": 10**30}, good]).what
    assert what.startswith("row 1, column 'a' holds 1000")


FLAT = '{"text": "...", "label": "a", "probability": 0.9} or {"text": "...", "a": 0.9, "b": 0.1}'
NESTED: dict[str, tuple[dict[str, Any], dict[str, Any], str, str]] = {
    "an object": ({"answer": {"label": "a", "score": 0.9}}, {}, "answer", "{'label': 'a', 'score': 0.9}"),
    "a list of objects": ({"answers": [{"label": "a"}, {"label": "b"}]}, {}, "answers", "[{'label': 'a'}, {'lab"),
    "a list of numbers": ({"probs": [0.9, 0.1]}, {"labels": ["a", "b"]}, "probs", "[0.9, 0.1]"),
    "a label in an object": ({"label": {"name": "a"}, "score": 1.0}, {}, "label", "{'name': 'a'}"),
    "several labels": ({"label": ["a", "b"]}, {"labels": ["a", "b"]}, "label", "['a', 'b']"),
    "its probability": ({"label": "a", "score": {"value": 0.9}}, {}, "score", "{'value': 0.9}"),
    "each probability": ({"a": [0.9], "b": [0.1]}, {"labels": ["a", "b"]}, "a", "[0.9]"),
}


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.parquet"])
@pytest.mark.parametrize("kind", NESTED)
def test_nested_answers_are_refused_with_the_flat_form(tmp_path: Path, kind: str, name: str) -> None:
    answer, settings, column, value = NESTED[kind]
    rows = [{"text": "x"} | dict.fromkeys(answer), {"text": "y"} | answer]
    error = refused(tmp_path, name, rows, **settings)
    assert error.what.startswith(f"row 2, column '{column}' holds {value}")
    assert error.what.endswith("which is not one value")
    assert FLAT in error.fix


def test_of_several_nested_columns_the_first_cell_is_named(tmp_path: Path) -> None:
    rows = [{"text": "x", "a": None, "b": [0.1]}, {"text": "y", "a": [0.9], "b": None}]
    error = refused(tmp_path, "a.jsonl", rows, labels=["a", "b"])
    assert error.what == "row 1, column 'b' holds [0.1], which is not one value"


def test_a_text_in_an_object_is_refused_with_the_flat_form(tmp_path: Path) -> None:
    error = refused(tmp_path, "a.jsonl", [{"input": {"text": "x"}, "label": "a"}])
    assert error.what == "row 1, column 'input' holds {'text': 'x'}, which is not one value"
    assert FLAT in error.fix
    other = refused(tmp_path, "a.jsonl", [{"txt": "x", "label": "a", "usage": {"tokens": 3}}])
    assert "Did you mean 'txt'?" in other.fix


def test_a_list_in_each_line_is_refused_with_the_flat_form(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('[{"label": "a", "score": 0.9}, {"label": "b", "score": 0.1}]\n')
    with pytest.raises(MukiError, match="line 1 holds list, not an object") as error:
        read_answers("vendor", AnswerFile(answers="a.jsonl"), tmp_path)
    assert error.value.fix == 'Write a flat object for each text: {"text": "...", "label": "..."}'


def test_objects_beside_the_answers_do_no_harm(tmp_path: Path) -> None:
    rows = [{"text": text, "label": label, "usage": {"tokens": 3}} for text, label in (("x", "a"), ("y", "b"))]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = read_answers("vendor", AnswerFile(answers="a.jsonl"), tmp_path)
    assert found.labels == ("a", "b")
    assert found.read_as.endswith("columns not used: 'usage'")
