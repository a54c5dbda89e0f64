"""Files of answers: what is read, and every fault with its row."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from muki_pipeline.blocks import AnswerFile
from muki_pipeline.errors import MukiError
from muki_pipeline.labelling.answer_file.reading import Answers, read_answers


def read(folder: Path, name: str, content: str | bytes, **settings: Any) -> Answers:
    if name.endswith(".parquet") and not content:
        pl.DataFrame({"id": [0, 1], "a": [1.0, 0.0], "b": [0.0, 1.0]}).write_parquet(folder / name)
        return read_answers("vendor", AnswerFile(answers=name, **settings), folder)
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_answers("vendor", AnswerFile(answers=name, **settings), folder)


def distributions(answers: Answers) -> list[list[float]]:
    rows = answers.probs(np.flatnonzero(answers.is_answer))
    return [[round(float(value), 4) for value in row] for row in rows]


WIDE = "text,yes,no\nhello,0.9,0.1\nbye,0.25,0.75\n"


@pytest.mark.parametrize(
    ("name", "content", "settings"),
    [
        ("a.csv", WIDE, {}),
        ("a.csv", WIDE.replace(",", ";"), {}),
        ("a.tsv", WIDE.replace(",", "\t"), {}),
        ("a.csv", WIDE, {"labels": ["yes", "no"]}),
        ("a.csv", "text,yes,no,score\nhello,0.9,0.1,7\nbye,0.25,0.75,8\n", {"labels": ["yes", "no"]}),
        ("a.csv", "body,yes,no\nhello,0.9,0.1\nbye,0.25,0.75\n", {"text": "body"}),
        ("a.csv", "text,note,yes,no\nhello,a,0.9,0.1\nbye,b,0.25,0.75\n", {}),
        (
            "a.csv",
            "text,label,probability,probability of yes,probability of no\n"
            "hello,yes,0.9,0.9,0.1\nbye,no,0.75,0.25,0.75\n",
            {},
        ),
        ("a.jsonl", '{"text": "hello", "yes": 0.9, "no": 0.1}\n{"text": "bye", "yes": 0.25, "no": 0.75}\n', {}),
        ("a.csv", "text,label,probability\nhello,yes,0.9\nbye,no,0.75\n", {"labels": ["yes", "no"]}),
        ("a.csv", "text,label,score\nhello,yes,0.9\nbye,no,0.75\n", {"labels": ["yes", "no"]}),
        ("a.csv", "text,label,yes,no\nhello,yes,0.9,0.1\nbye,no,0.25,0.75\n", {}),
        ("a.csv", ",text,yes,no\n0,hello,0.9,0.1\n1,bye,0.25,0.75\n", {}),
        ("a.csv", "text,answer,p\nhello, yes ,0.9\nbye,no,0.75\n", {"labels": ["yes", "no"], "label": "answer"}),
    ],
)
def test_distributions(tmp_path: Path, name: str, content: str, settings: dict[str, Any]) -> None:
    answers = read(tmp_path, name, content, **{"probability": "p"} if "answer" in content else {}, **settings)
    assert answers.labels == ("yes", "no")
    assert answers.keys.to_list() == ["hello", "bye"]
    assert distributions(answers) == [[0.9, 0.1], [0.25, 0.75]]
    assert not answers.has_samples


def test_parquet(tmp_path: Path) -> None:
    pl.DataFrame({"id": ["a", "b"], "yes": [0.5, None], "no": [0.5, None]}).write_parquet(tmp_path / "a.parquet")
    answers = read_answers("vendor", AnswerFile(answers="a.parquet"), tmp_path)
    assert (answers.by, answers.is_answer.tolist()) == ("id", [True, False])


def test_several_labels_of_a_text_are_samples(tmp_path: Path) -> None:
    lines = [{"text": "hello", "label": label} for label in ("b", "a", "b", None)]
    lines += [{"text": "bye", "label": label} for label in ("a", "a", "?")]
    content = "\n".join(json.dumps(line) for line in lines)
    answers = read(tmp_path, "a.jsonl", content, labels=["a", "b"])
    assert answers.has_samples
    assert answers.is_answer.tolist() == [True, True, True, False, True, True, False]
    assert (answers.unknown, answers.unknown_rows) == ({"?": 1}, 1)
    assert distributions(answers)[:2] == [[0.0, 1.0], [1.0, 0.0]]


def test_a_text_is_one_whatever_its_line_ends(tmp_path: Path) -> None:
    rows = ["a", "a", "b"]
    texts = ["one\ntwo", "one\r\ntwo", "one\rtwo"]
    pl.DataFrame({"text": [*texts, "other"] * 2, "label": [*rows, "b", *rows, "a"]}).write_parquet(
        tmp_path / "a.parquet"
    )
    found = read_answers("vendor", AnswerFile(answers="a.parquet"), tmp_path)
    assert found.has_samples
    assert found.keys.to_list() == ["one\ntwo"] * 3 + ["other"] + ["one\ntwo"] * 3 + ["other"]


def test_equal_rows_are_no_samples(tmp_path: Path) -> None:
    assert not read(tmp_path, "a.csv", "text,label\nx,a\nx,a\ny,b\ny,b\n").has_samples
    assert not read(tmp_path, "a.csv", "text,label\nx,a\nx,b\ny,b\n").has_samples
    assert read(tmp_path, "a.csv", "text,label\nx,a\nx,b\ny,b\ny,b\n").has_samples


def test_one_stray_row_is_named(tmp_path: Path) -> None:
    rows = [f"t{text},{'ab'[(text + sample) % 2]}" for text in range(9) for sample in range(3)]
    answers = read(tmp_path, "a.csv", "\n".join(["text,label", *rows, "another,a"]))
    assert (answers.has_samples, answers.single) == (False, 1)
    again = read(tmp_path, "a.csv", "\n".join(["text,label", *rows]))
    assert (again.has_samples, again.single) == (True, 0)


def test_one_text_with_two_rows_is_no_spread_distribution(tmp_path: Path) -> None:
    rows = [f"t{text},{'ab'[text % 2]},0.6" for text in range(9)]
    assert len(read(tmp_path, "a.csv", "\n".join(["text,label,probability", *rows, "t0,b,0.4"])).keys) == 10


def several_labels(*counts: int, repeated: int = 0) -> str:
    """A file in which each text has so many different labels, a row each; the first texts have one twice."""
    rows = [f"t{text},{'abcd'[(text + row) % 4]}" for text, count in enumerate(counts) for row in range(count)]
    rows += [f"t{text},{'abcd'[text % 4]}" for text in range(repeated)]
    return "\n".join(["text,label", *rows])


@pytest.mark.parametrize(
    "content",
    [
        several_labels(*[2] * 20),
        several_labels(*[2] * 200, repeated=10),
        several_labels(*[1] * 150, *[2] * 50),
        several_labels(*[2] * 30) + several_labels(*[2] * 30).removeprefix("text,label"),
        several_labels(*[3] * 40, repeated=1),
    ],
    ids=["two each", "a few repeat one", "a quarter of the texts", "all rows twice", "one repeats one"],
)
def test_labels_of_a_text_a_row_each_are_no_samples(tmp_path: Path, content: str) -> None:
    with pytest.raises(MukiError, match=r"gives [\d,]+ of its [\d,]+ texts several labels, a row each"):
        read(tmp_path, "a.csv", content)


def test_samples_may_differ_in_some_texts(tmp_path: Path) -> None:
    assert read(tmp_path, "a.csv", several_labels(*[2] * 80, repeated=20)).has_samples
    rows = [f"t{text},{'ab'[row if text % 3 else 0]}" for text in range(90) for row in range(2)]
    assert read(tmp_path, "a.csv", "\n".join(["text,label", *rows])).has_samples
    assert not read(tmp_path, "a.csv", several_labels(*[1] * 400, *[2] * 25)).has_samples


def test_labels_may_be_called_as_columns_are(tmp_path: Path) -> None:
    answers = read(tmp_path, "a.csv", "text,id,label\nx,0.9,0.1\ny,0.2,0.8\n", labels=["id", "label"])
    assert distributions(answers) == [[0.9, 0.1], [0.2, 0.8]]


def test_a_probability_below_chance_speaks_for_no_other_label(tmp_path: Path) -> None:
    answers = read(tmp_path, "a.csv", "text,label,probability\nx,a,0.1\ny,b,0.5\nz,c,1\n")
    assert distributions(answers)[0] == [0.3333, 0.3333, 0.3333]


def test_labels_that_look_the_same_are_one(tmp_path: Path) -> None:
    assert read(tmp_path, "a.csv", "text,label\nx,caf\u00e9\ny,cafe\u0301\nz,tea\n").labels == ("caf\u00e9", "tea")


LONG = "text,label\nx,a\ny,b\n"
FAULTS: dict[str, tuple[str, str | bytes, dict[str, Any], str]] = {
    "empty": ("a.csv", "", {}, "holds no answers"),
    "only a header": ("a.csv", "text,a,b\n", {}, "holds no answers"),
    "ending": ("a.pkl", "x", {}, ".pkl is not a known format"),
    "no text": ("a.csv", "txt,a,b\nx,1,0\n", {}, "Did you mean 'txt'"),
    "null text": ("a.csv", "text,a,b\n,1,0\nx,1,0\n", {}, "first in row 1"),
    "numbers as texts": ("a.jsonl", '{"text": 1, "a": 1, "b": 0}\n', {}, "cannot be texts"),
    "other encoding": ("a.csv", "text,a,b\ncafé,1,0\n".encode("latin-1"), {}, "line 2 is not UTF-8"),
    "UTF-16": ("a.csv", LONG.encode("utf-16"), {}, "is UTF-16"),
    "no JSON": ("a.jsonl", '{"text": "x", "label": \n', {}, "line 1 is not valid JSON"),
    "an array": ("a.jsonl", '["x", "a"]\n', {}, "line 1 holds list"),
    "parquet": ("a.parquet", "PAR1", {}, "cannot be read"),
    "sum": ("a.csv", "text,a,b\nx,1,0\ny,0.5,0.4\n", {}, "row 2 sum to 0.9"),
    "logits": ("a.csv", "text,a,b\nx,2.5,-1\n", {}, "row 1, column 'a' holds '2.5'"),
    "negative": ("a.csv", "text,a,b\nx,-0.1,1.1\n", {}, "column 'a' holds '-0.1'"),
    "percent": ("a.csv", "text,a,b\nx,90,10\n", {}, "column 'a' holds '90'"),
    "percent sign": ("a.csv", "text,a,b\nx,90%,10%\n", {"labels": ["a", "b"]}, "column 'a' holds '90%'"),
    "comma": ("a.csv", 'text;a;b\nx;"0,9";"0,1"\n', {"labels": ["a", "b"]}, "column 'a' holds '0,9'"),
    "decimal commas": ("a.csv", "text;a;b\nx;0,9;0,1\n", {"delimiter": ";"}, "row 1, column 'a' holds '0,9', a number"),
    "a score with a comma": (
        "a.csv",
        "text;label;score\nx;a;0,9\ny;b;1\n",
        {"delimiter": ";"},
        "row 1, column 'score' holds '0,9', a number with a decimal comma",
    ),
    "zeros": ("a.csv", "text,a,b,age\nx,1,0,0\ny,0,1,0\n", {}, "column 'age' is 0 in every row"),
    "variants in another form": (
        "a.csv",
        "text,label\nx,Caf\u00e9\ny,cafe\u0301\nz,other\n",
        {},
        "'Caf\u00e9' (1 row, first in row 1), 'caf\u00e9' (1 row, first in row 2), which differ in case",
    ),
    "NaN": ("a.jsonl", '{"text": "x", "a": NaN, "b": 1.0}\n', {}, "row 1, column 'a' holds nan"),
    "NaN in a CSV": ("a.csv", "text,a,b\nx,NaN,1\n", {}, "row 1, column 'a' holds 'NaN'"),
    "infinite": ("a.jsonl", '{"text": "x", "a": Infinity, "b": 0.0}\n', {}, "column 'a' holds inf"),
    "half a row": ("a.csv", "text,a,b\nx,1,\n", {"labels": ["a", "b"]}, "row 1 has probabilities for some labels"),
    "words": ("a.csv", "text,a,b\nx,high,low\n", {"labels": ["a", "b"]}, "column 'a' holds 'high'"),
    "lists": ("a.jsonl", '{"text": "x", "a": [1], "b": [0]}\n', {"labels": ["a", "b"]}, "holds [1], which is not one"),
    "a missing column": ("a.csv", "text,a,b\nx,1,0\n", {"labels": ["a", "b", "c"]}, "no column for the labels 'c'"),
    "other columns": ("a.csv", "text,a,b,age\nx,1,0,40\n", {}, "column 'age' holds '40'"),
    "nothing to read": ("a.csv", "text,note\nx,fine\n", {}, "neither a column 'label'"),
    "one column": ("a.csv", "text,a\nx,1\n", {}, "neither a column 'label'"),
    "one label": ("a.csv", "text,label\nx,a\ny,a\n", {}, "only the labels ['a']"),
    "no label at all": ("a.csv", "text,label\nx,\ny,\n", {}, "only the labels []"),
    "label of numbers": ("a.jsonl", '{"text": "x", "label": 1.5}\n', {}, "cannot be labels"),
    "a probability without": ("a.csv", "text,label,probability\nx,a,\ny,b,1\n", {}, "row 1 has a label and no probab"),
    "a probability above 1": (
        "a.csv",
        "text,label,probability\nx,a,1.5\ny,b,1\n",
        {},
        "column 'probability' holds '1.5'",
    ),
    "a negative one": ("a.csv", "text,label,probability\nx,a,-1\ny,b,1\n", {}, "column 'probability' holds '-1'"),
    "no number": ("a.csv", "text,label,probability\nx,a,sure\ny,b,1\n", {}, "column 'probability' holds 'sure'"),
    "spread over rows": (
        "a.csv",
        "text,label,probability\nx,a,0.7\nx,b,0.3\ny,a,0.2\ny,b,0.8\n",
        {},
        "texts several labels, a row each",
    ),
    "a dump of all labels": (
        "a.csv",
        "text,label,score\nx,a,0.7\nx,b,0.2\nx,c,0.1\ny,a,0.2\ny,b,0.7\ny,c,0.1\n",
        {},
        "texts several labels, a row each",
    ),
    "the best two": (
        "a.csv",
        "text,label,probability\nx,a,0.6\nx,b,0.3\ny,a,0.2\ny,c,0.7\n",
        {},
        "texts several labels, a row each",
    ),
    "all labels without numbers": (
        "a.csv",
        "text,label\nx,a\nx,b\nx,c\ny,b\ny,c\ny,a\n",
        {},
        "texts several labels, a row each",
    ),
    "answers, not labels": (
        "a.jsonl",
        "\n".join(f'{{"text": "{n}", "label": "I think that it is {n}"}}' for n in range(60)),
        {},
        "column label holds 60 values in 60 rows",
    ),
    "a label twice": ("a.csv", "text,a,b\nx,1,0\n", {"labels": ["a", "a "]}, "is given the label 'a' twice"),
    "no name": ("a.csv", "text,probability of ,probability of a\nx,1,0\n", {}, "a label without a name"),
    "two digits": ("a.csv", "text,a,b,c\nx,0.33,0.33,0.33\n", {}, "Write more digits"),
    "numbers as ids": ("a.parquet", "", {}, "not the ids of data/corpus"),
    "a named column that is not there": ("a.csv", "id,a,b\nx,1,0\n", {"text": "body"}, "has no column 'body'"),
    "two columns of a name": ("a.csv", "text,a,b,a\nx,1,0,1\n", {}, "two columns called 'a'"),
    "ragged": ("a.csv", "text,label\nx,a\ny,b,c,d\nz,a\nw,b\n", {}, "a.csv"),
    "no header": (
        "a.csv",
        "text,label\nx,a\ny,b\n",
        {"header": False},
        "has no column 'text' with the texts, and no column 'id'",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_named(tmp_path: Path, fault: str) -> None:
    name, content, settings, message = FAULTS[fault]
    with pytest.raises(MukiError) as error:
        read(tmp_path, name, content, **settings)
    assert message in str(error.value), str(error.value)
    assert "a." in error.value.where


def test_labels_that_are_listed_may_differ_in_case(tmp_path: Path) -> None:
    answers = read(tmp_path, "a.csv", "text,label\nx,It\ny,it\n", labels=["It", "it"])
    assert distributions(answers) == [[1.0, 0.0], [0.0, 1.0]]


def test_a_missing_file(tmp_path: Path) -> None:
    for answers in ("none.csv", "."):
        with pytest.raises(MukiError, match="no such file of answers"):
            read_answers("vendor", AnswerFile(answers=answers), tmp_path)
