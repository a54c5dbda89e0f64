"""What `inspect` says of one text."""

from pathlib import Path

import polars as pl
import pytest
import yaml

from muki_pipeline import config
from muki_pipeline.errors import MukiError
from muki_pipeline.reporting.inspect import inspect_text
from muki_pipeline.reporting.report.golden import golden_summary
from muki_pipeline.reporting.report.texts import NO_ANSWER, searchable
from muki_pipeline.supervision.integrate import integrate
from muki_stages import inspection
from tests import tiny


def test_scores_are_those_of_their_teachers_whatever_the_order_of_their_names(tmp_path: Path) -> None:
    path = tiny.save_project(tmp_path, teachers={"zoo": ["apple", "pear", "plum"], "ash": ["oak", "elm"]})
    tiny.label(path)
    params, layout = config.load(path)
    integrate(params, layout, layout.golden)
    golden = pl.read_parquet(layout.golden / "*.parquet")
    assert set(golden["teacher"]) == {"zoo", "ash"}
    for row in golden.iter_rows(named=True):
        shown = inspect_text(params, layout, row["id"])["golden"]
        assert list(shown["scores"]) == ["zoo", "ash"]
        assert max(shown["scores"], key=shown["scores"].__getitem__) == shown["teacher"] == row["teacher"]


def test_new_labels_are_not_shown_beside_an_old_target(tmp_path: Path) -> None:
    path = tiny.save_project(tmp_path)
    tiny.label(path)
    params, layout = config.load(path)
    integrate(params, layout, layout.golden)
    tiny.change(path, "label", passes=4)
    tiny.label(path)
    text_id = pl.read_parquet(layout.corpus / "*.parquet")["id"][0]
    with pytest.raises(MukiError, match=r"golden: is of other labels of teacher one\. Run muki-pipeline integrate"):
        inspect_text(*config.load(path), text_id)


def test_a_teacher_without_an_answer_is_shown_with_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tiny.save_project(tmp_path)
    texts = tiny.texts(30, 1)
    (tmp_path / "two.csv").write_text("\n".join(["text,label", *(f'"{text}",oak' for text in texts[:24])]) + "\n")
    content = yaml.safe_load(path.read_text())
    content["teachers"]["two"] = {"answers": "two.csv", "labels": ["oak", "elm"], "most_unanswered": 0.5}
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    tiny.label(path)
    params, layout = config.load(path)
    integrate(params, layout, layout.golden)
    golden = pl.read_parquet(layout.golden / "*.parquet")
    silent = golden.filter(~pl.col("text").is_in(texts[:24]))
    inspection.main(path, silent["id"][0])
    assert "no answer" in capsys.readouterr().out
    found = {each["text"]: each["answers"][1] for each in searchable(params, layout)["texts"]}
    assert {text for text, (_, label, _) in found.items() if label == NO_ANSWER} == set(silent["text"])
    conflicts = golden_summary(params, layout, {}).conflicts
    for each in conflicts:
        assert (each.answers[1].label is None) == (each.text in set(silent["text"]))


def test_gold_labels_are_counted_of_what_is_taught(tmp_path: Path) -> None:
    path = tiny.save_labelled(tmp_path)
    tiny.change(path, "integrate", unknown_share=0.4)
    for changes in ({}, {"unknown_label": "other"}):
        tiny.change(path, "integrate", **changes)
        params, layout = config.load(path)
        integrate(params, layout, layout.golden)
        golden = pl.read_parquet(layout.golden / "*.parquet")
        gold = dict(pl.read_parquet(layout.corpus_gold).iter_rows())
        taught = golden.filter((pl.col("weight") > 0) & (pl.col("target").arr.arg_max() < 5))
        assert 0 < len(taught) < len(golden)
        counted = golden_summary(params, layout, gold).by_gold
        assert sum(int(each.sum()) for each in counted.values()) == len(taught)
