"""What `inspect` says of one text."""

from pathlib import Path

import polars as pl
import pytest

from muki_pipeline import config
from muki_pipeline.errors import MukiError
from muki_pipeline.reporting.inspect import inspect_text
from muki_pipeline.supervision.integrate import integrate
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
