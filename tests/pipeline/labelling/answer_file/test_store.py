"""Answers joined with texts."""

from pathlib import Path

import polars as pl
import pytest

from muki_pipeline.blocks import AnswerFile
from muki_pipeline.labelling.answer_file.store import StoredAnswers
from muki_pipeline.layout import Layout
from muki_pipeline.store.columns import spreadsheet_csv


@pytest.mark.parametrize(("written", "asked"), [("a\r\nb", "a\nb"), ("a\nb", "a\r\nb"), ("a\rb", "a\nb")])
def test_another_kind_of_line_end_is_the_same_text(tmp_path: Path, written: str, asked: str) -> None:
    (tmp_path / "a.csv").write_bytes(f'text,yes,no\n"{written}",0.9,0.1\nc,0.5,0.5\n'.encode())
    answers = StoredAnswers.locate("vendor", AnswerFile(answers="a.csv"), Layout(tmp_path))
    [[yes, no], [unanswered, same]] = answers.logits([asked, "d"])
    assert yes - no == pytest.approx(2.197, abs=1e-3)
    assert unanswered == same


@pytest.mark.parametrize("ending", [".csv", ".tsv"])
def test_what_predict_wrote_for_spreadsheets_is_the_same_text(tmp_path: Path, ending: str) -> None:
    texts = ["=1+2", "-5 %", "+x", "@me", "\ttab", "plain", "'quoted"]
    table = pl.DataFrame({"text": texts, "yes": [0.9] * 7, "no": [0.1] * 7})
    (tmp_path / f"a{ending}").write_bytes(spreadsheet_csv(table, "," if ending == ".csv" else "\t"))
    answers = StoredAnswers.locate("vendor", AnswerFile(answers=f"a{ending}"), Layout(tmp_path))
    assert [bool(yes > no) for yes, no in answers.logits([*texts, "x"])] == [True] * 7 + [False]


def test_a_text_that_begins_with_an_apostrophe_stays_itself(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,yes,no\n'=x,0.9,0.1\n=x,0.4,0.6\n")
    answers = StoredAnswers.locate("vendor", AnswerFile(answers="a.csv"), Layout(tmp_path))
    assert [bool(yes > no) for yes, no in answers.logits(["'=x", "=x"])] == [True, False]
    assert [bool(yes > no) for yes, no in answers.logits(["=x"])] == [False], "whatever else is asked"
