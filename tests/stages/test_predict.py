"""Whose student `predict` asks."""

from pathlib import Path

import polars as pl
import pytest

from muki_pipeline.errors import MukiError
from muki_pipeline.store.folders import seal_folder
from muki_stages import predict
from tests import tiny


def test_the_student_is_that_of_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pl.DataFrame({"text": ["w1", "w2"]}).write_csv("texts.csv")
    seal_folder(tiny.save_teacher(tmp_path / "other" / "data" / "student", ["apple", "plum"]))
    predict.main(Path("texts.csv"), params_file=Path("other/params.yaml"), target=Path("out.csv"))
    assert set(pl.read_csv("out.csv")["label"]) <= {"apple", "plum"}
    with pytest.raises(MukiError, match="data/student"):
        predict.main(Path("texts.csv"), target=Path("again.csv"))
    predict.main(Path("texts.csv"), student=Path("other/data/student"), target=Path("again.csv"))
