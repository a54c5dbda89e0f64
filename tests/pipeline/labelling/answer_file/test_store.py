"""Answers joined with texts."""

from pathlib import Path

import pytest

from muki_pipeline.blocks import AnswerFile
from muki_pipeline.labelling.answer_file.store import StoredAnswers
from muki_pipeline.layout import Layout


@pytest.mark.parametrize(("written", "asked"), [("a\r\nb", "a\nb"), ("a\nb", "a\r\nb"), ("a\rb", "a\nb")])
def test_another_kind_of_line_end_is_the_same_text(tmp_path: Path, written: str, asked: str) -> None:
    (tmp_path / "a.csv").write_bytes(f'text,yes,no\n"{written}",0.9,0.1\nc,0.5,0.5\n'.encode())
    answers = StoredAnswers.locate("vendor", AnswerFile(answers="a.csv"), Layout(tmp_path))
    [[yes, no], [unanswered, same]] = answers.logits([asked, "d"])
    assert yes - no == pytest.approx(2.197, abs=1e-3)
    assert unanswered == same
