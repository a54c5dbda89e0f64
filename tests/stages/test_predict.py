"""Whose student `predict` asks."""

from pathlib import Path

import polars as pl
import pytest
import yaml

from muki_pipeline.errors import MukiError
from muki_pipeline.store.folders import seal_folder
from muki_stages import evaluate, predict, results
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


def test_the_texts_are_called_as_in_the_corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    seal_folder(tiny.save_teacher(tmp_path / "data" / "student", ["apple", "plum"]))
    pl.DataFrame({"body": ["w1", "w2"], "text": ["2026", "2027"], "who": ["w3", "w4"]}).write_csv("mails.csv")
    source = {"source": "mails.csv", "text": "body"}
    tiny.save_project(tmp_path, prepare={"corpus": source, "shard_rows": 8})
    for text, target in ((None, "usual.csv"), ("body", "named.csv"), ("text", "other.csv")):
        predict.main(Path("mails.csv"), text=text, target=Path(target), every_label=True)
    assert Path("usual.csv").read_bytes() == Path("named.csv").read_bytes() != Path("other.csv").read_bytes()
    pl.DataFrame({"mail": ["w1"], "who": ["w3"]}).write_parquet("others.parquet")
    with pytest.raises(MukiError, match="which column holds the texts"):
        predict.main(Path("others.parquet"))


def test_a_student_of_earlier_settings_is_said_to_be_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tiny.save_project(tmp_path)
    tiny.finish(path)
    evaluate.main(path)
    for changed in ("", "integrate.temperature"):
        warned: list[str] = []
        for module in (predict, results):
            monkeypatch.setattr(module, "warn", warned.append)
        predict.main(Path("corpus.csv"), text="body", params_file=path, target=Path(f"out{changed}.csv"))
        results.main(path)
        assert [changed in told and "earlier settings" in told for told in warned] == ([True, True] if changed else [])
        path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"integrate": {"temperature": 0.5}}))
