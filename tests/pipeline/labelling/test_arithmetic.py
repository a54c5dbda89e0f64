"""`label.dtype: auto`: what is chosen, and that what is finished decides first."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from muki_pipeline.blocks import Teacher
from muki_pipeline.config import Dtype, Label
from muki_pipeline.corpus import table
from muki_pipeline.errors import MukiError
from muki_pipeline.labelling import trial
from muki_pipeline.labelling.labeller import Labeller
from muki_pipeline.labelling.run import LabellingSummary, label_corpus
from muki_pipeline.layout import Layout
from muki_pipeline.models.teachers import locate
from muki_pipeline.store.table import Table
from tests import tiny

AUTO = Label(passes=2, max_length=24, token_budget=200, device="cpu")


class Project:
    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.layout, self.monkeypatch = Layout(root), monkeypatch
        tiny.save_teacher(root / "m", ["a", "b", "c"], initializer_range=0.05)
        self.write(16)

    def write(self, rows: int) -> None:
        table.write_corpus(self.layout.corpus, table.with_ids(pl.DataFrame({"text": tiny.texts(rows)})), shard_rows=8)

    def label(self, fast: Dtype = "bfloat16", **changes: Any) -> LabellingSummary:
        self.monkeypatch.setattr(trial, "fast_dtype", lambda device: fast)
        teacher = Teacher(model="m")
        return label_corpus("t", teacher, AUTO.model_copy(update=changes), self.layout)

    @property
    def dtypes(self) -> list[str]:
        return [shard.footer()["dtype"] for shard in Table.open(self.layout.labels("t"), "").shards]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    return Project(tmp_path, monkeypatch)


def test_bfloat16_where_it_is_faster_and_changes_little(project: Project) -> None:
    assert "bfloat16, which is faster here; on 8 texts its entropies differ by 0.0" in project.label().arithmetic
    assert project.dtypes == ["bfloat16", "bfloat16"]


def test_float32_where_bfloat16_is_not_faster(project: Project) -> None:
    assert project.label(fast="float32").arithmetic == "float32: this machine is not faster in bfloat16"
    assert project.dtypes == ["float32", "float32"]


def test_float32_where_bfloat16_changes_too_much(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "_MOST_ENTROPY", 0.0)
    assert "float32, because bfloat16 changes too much: on 8 texts" in project.label().arithmetic
    assert project.dtypes == ["float32", "float32"]


def test_what_is_finished_stays(project: Project) -> None:
    project.label()
    again = project.label(fast="float32")
    assert (again.new_rows, again.arithmetic) == (0, "bfloat16, as it was labelled before")
    project.write(24)
    assert project.label().arithmetic == "bfloat16, as it was begun"
    assert project.label(dtype="float32").new_rows == 24
    assert project.dtypes == ["float32"] * 3


@pytest.mark.parametrize(("begun", "other"), [("bfloat16", "float32"), ("float32", "bfloat16")])
def test_what_was_begun_goes_on_on_another_machine(project: Project, begun: Dtype, other: Dtype) -> None:
    project.label(fast=begun)
    project.write(24)
    went_on = project.label(fast=other)
    assert (went_on.new_rows, went_on.arithmetic) == (8, f"{begun}, as it was begun")
    assert project.dtypes == [begun] * 3


def test_a_stray_shard_does_not_settle_the_arithmetic_of_a_corpus(project: Project) -> None:
    project.write(8)
    project.label(fast="float32")
    project.write(40)
    assert project.label(fast="bfloat16").new_rows == 40
    assert project.dtypes == ["bfloat16"] * 5


def test_float32_where_a_network_cannot_compute_in_bfloat16(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    check = Labeller.check

    def fail(labeller: Labeller) -> None:
        if labeller.dtype == "bfloat16":  # as a T5 does, whose masks are of another type than its products
            raise MukiError("its network cannot read a text", where="teacher t", fix="Use another")
        check(labeller)

    monkeypatch.setattr(Labeller, "check", fail)
    assert project.label().arithmetic == "float32: in bfloat16, its network cannot read a text"
    assert project.dtypes == ["float32", "float32"]
    files = locate("t", Teacher(model="m"), project.layout.root)
    assert trial.fastest(files, AUTO).dtype == "float32"
    with pytest.raises(MukiError, match="teacher t: its network cannot read a text"):
        trial.fastest(files, AUTO.model_copy(update={"dtype": "bfloat16"}))
