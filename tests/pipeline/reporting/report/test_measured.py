"""Figures are shown only beside what they were measured on."""

import json
import shutil
from pathlib import Path

import pytest

from muki_pipeline import config
from muki_pipeline.evaluation.measured_on import RECORD, inputs_now
from muki_pipeline.layout import Layout
from muki_pipeline.reporting.report.measured import Measured, read_measured
from muki_pipeline.store import files
from muki_stages import evaluate
from tests import tiny

LABELS = [label for labels in tiny.TEACHER_LABELS.values() for label in labels]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tiny.save_project(tmp_path_factory.mktemp("measured"))
    tiny.change(path, "integrate", aliases={"one": {"plum": "=plum"}})
    (path.parent / "test.csv").write_text((path.parent / "test.csv").read_text().replace("plum", "=plum"))
    tiny.finish(path)
    evaluate.main(path)
    return path


@pytest.fixture
def layout(project: Path, tmp_path: Path) -> Layout:
    shutil.copytree(project.parent / "data", tmp_path / "data", ignore=shutil.ignore_patterns(".work"))
    return Layout(tmp_path)


def read(project: Path, layout: Layout) -> Measured:
    return read_measured(config.load(project)[0], layout, ["apple", "pear", "=plum", "oak", "elm"])


def test_present_figures_are_read_with_the_texts_behind_them(project: Path, layout: Layout) -> None:
    found = read(project, layout)
    assert found.stale == ""
    assert found.metrics == json.loads(layout.metrics.read_text())
    assert {*found.tables} == {"reliability", "uncertainty"}
    assert found.answers is not None
    right = (found.answers["actual"] == found.answers["predicted"]).mean()
    assert right == pytest.approx(found.metrics["student"]["accuracy"])
    assert "=plum" in found.answers["actual"].to_list(), "what guards spreadsheets is taken away"


@pytest.mark.parametrize(
    ("file", "changed"),
    [
        ("student/model.safetensors", "student"),
        ("golden/manifest.json", "golden table"),
        ("eval/test.parquet", "test set"),
        ("eval/corpus_gold.parquet", "gold labels of the corpus"),
    ],
)
def test_what_has_changed_is_named_and_no_figure_is_shown(
    project: Path, layout: Layout, file: str, changed: str
) -> None:
    path = layout.root / "data" / file
    path.write_bytes(path.read_bytes() + b" ")
    found = read(project, layout)
    assert found == Measured(stale=f"since they were measured, something else has come: {changed}")


def test_what_is_gone_has_changed_too(project: Path, layout: Layout) -> None:
    shutil.rmtree(layout.student)
    assert "student" in read(project, layout).stale


def test_longer_texts_are_another_student(project: Path, layout: Layout) -> None:
    params = config.load(project)[0]
    longer = params.model_copy(update={"student": params.student.model_copy(update={"max_length": 12})})
    assert {
        name for name, digest in inputs_now(longer, layout).items() if inputs_now(params, layout)[name] != digest
    } == {"student"}


@pytest.mark.parametrize("name", [RECORD, "metrics"])
def test_figures_without_a_record_are_not_shown(project: Path, layout: Layout, name: str) -> None:
    """An older version wrote them, or a hand, or they came without the folder of plots."""
    if name == RECORD:
        (layout.plots / RECORD).unlink()
        expected = "nobody recorded"
    else:
        files.write_json(layout.metrics, {"student": {"accuracy": 1.0, "rows": 9}})
        expected = "not those that were written with the record"
    assert expected in read(project, layout).stale


def test_a_plot_of_another_run_is_left_out(project: Path, layout: Layout) -> None:
    (layout.plots / "confusion.csv").write_text("actual,predicted\noak,elm\n")
    (layout.plots / "uncertainty.csv").unlink()
    found = read(project, layout)
    assert found.stale == ""
    assert found.answers is None
    assert {*found.tables} == {"reliability"}


def test_nothing_was_measured(project: Path, layout: Layout) -> None:
    layout.metrics.unlink()
    assert read(project, layout) == Measured()
