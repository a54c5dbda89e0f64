"""Labels of a file of answers that may be slips, and what else looks wrong in it."""

from pathlib import Path
from typing import Any

import pytest

from muki_pipeline.blocks import AnswerFile
from muki_pipeline.errors import MukiError
from muki_pipeline.labelling.answer_file.reading import Answers, read_answers


def read(folder: Path, rows: list[str], header: str = "text,label", **settings: Any) -> Answers:
    (folder / "a.csv").write_text("\n".join([header, *rows]))
    return read_answers("vendor", AnswerFile(answers="a.csv", **settings), folder)


def labelled(*labels: str) -> list[str]:
    return [f"t{number},{label}" for number, label in enumerate(labels)]


@pytest.mark.parametrize(
    ("usual", "other"),
    [
        ("refund", "Refund"),
        ("invoice", "invoice."),
        ("invoice", '"""invoice"""'),
        ("invoice", "\u201cInvoice\u201d"),
        ("invoice", "**invoice**"),
        ("lost card", "lost  card"),
        ("lost card", "lost_card"),
        ("lost-card", "Lost card!"),
    ],
)
def test_labels_that_differ_in_how_they_are_written_are_refused(tmp_path: Path, usual: str, other: str) -> None:
    rows = labelled(usual, "tea", usual, other)
    plain = other.replace('"""', '"').replace("*", r"\*")
    expected = (
        rf"'{usual}' \(2 rows, first in row 1\), '{plain}' \(1 row, first in row 4\), which differ in case, punct"
    )
    with pytest.raises(MukiError, match=expected) as error:
        read(tmp_path, rows)
    assert "list the labels in teachers.vendor.labels" in error.value.fix
    found = read(tmp_path, rows, labels=[usual, "tea"])
    assert (found.labels, found.unknown_rows) == ((usual, "tea"), 1)


def test_the_other_variants_are_counted(tmp_path: Path) -> None:
    rows = labelled("a", "a.", "b", "b.", "B", "c")
    with pytest.raises(MukiError, match=r"'B' .*'b' .*'b\.' .*blanks alone \(2 labels have such variants\)"):
        read(tmp_path, rows)


def test_marks_that_tell_labels_apart_are_no_slips(tmp_path: Path) -> None:
    labels = ("C", "C++", "C#", "-1", "1", "<5", ">5", "5%", "?", "!")
    assert set(read(tmp_path, labelled(*labels)).labels) == {*labels}


def test_a_rare_label_that_resembles_a_frequent_one_is_named(tmp_path: Path) -> None:
    rows = labelled(*["refund"] * 61, "refnd", *["since"] * 3, *["science"] * 50)
    [warning] = read(tmp_path, rows).warnings
    assert "resemble frequent ones: 'refnd' (1, did you mean 'refund'?). They" in warning
    assert warning.endswith("list the labels in teachers.vendor.labels")
    assert read(tmp_path, rows, labels=["refund", "refnd", "since", "science"]).warnings == ()


def test_texts_with_answers_that_differ_are_counted(tmp_path: Path) -> None:
    rows = labelled(*"abab" * 10)
    assert read(tmp_path, [*rows, "t3,b", "t3,b"]).warnings == ()
    [warning] = read(tmp_path, [*rows, "t3,a", "t4,b"]).warnings
    named = "'t3' (rows 4, 41), 't4' (rows 5, 42)"
    assert warning == f"2 texts have several answers that differ, of which the average counts: {named}"
    samples = [f"{row.partition(',')[0]},{label}" for row in rows for label in "aab"]
    assert read(tmp_path, samples).warnings == ()


def test_the_first_texts_with_answers_that_differ_are_named_with_their_rows(tmp_path: Path) -> None:
    rows = labelled(*"ab" * 20)
    [warning] = read(tmp_path, [*rows, *(f"t{number},{'ba'[number % 2]}" for number in (9, 3, 3, 3, 7, 5, 1))]).warnings
    assert warning.startswith("5 texts have several answers that differ")
    first = "'t1' (rows 2, 47), 't3' (rows 4, 42, 43 and 1 more), 't5' (rows 6, 46) and 2 more"
    assert warning.endswith(f": {first}")
    ids = [row.replace("t", "id-") for row in rows]
    [warning] = read(tmp_path, [*ids, "id-0,", "id-0,b"], header="id,label").warnings
    assert warning.endswith("1 text has several answers that differ, of which the average counts: 'id-0' (rows 1, 42)")


@pytest.mark.parametrize(
    ("header", "rows", "expected"),
    [
        ("text,label", ["x,a", "y,b"], "one label a row, in column 'label'; no column of probabilities; no samples"),
        (
            "text,label,score,length,note",
            ["x,a,0.5,30,z", "x,b,0.6,30,z", "y,a,0.9,12,z", "y,a,1,12,z"],
            "one label a row, in column 'label'; its probability in column 'score'; samples; "
            "columns not used: 'length', 'note'",
        ),
        (
            "text,label,a,b,age",
            ["x,a,1,0,7", "y,b,0,1,7"],
            "a probability for each label, a column each; no samples; columns not used: 'label', 'age'",
        ),
    ],
)
def test_how_a_file_is_read_is_told(tmp_path: Path, header: str, rows: list[str], expected: str) -> None:
    assert read(tmp_path, rows, header).read_as == expected
