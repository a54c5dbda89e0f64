"""A label of the student for texts that no teacher knows, from the golden table to the report."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from muki_pipeline import config
from muki_pipeline.errors import MukiError
from muki_pipeline.evaluation.predict import unknown_measures
from muki_pipeline.reporting import results
from muki_pipeline.reporting.report.golden import golden_summary
from muki_pipeline.routing.router import Router
from muki_pipeline.supervision.integrate import integrate
from muki_pipeline.supervision.summary import RoutingSummary, Sums, summarise
from muki_stages import compare, evaluate, report
from muki_stages import integrate as stage
from tests import tiny

UNKNOWN: dict[str, Any] = {"unknown_share": 0.3, "unknown_label": "other"}
LABELS = ["apple", "pear", "plum", "oak", "elm", "other"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a student of such a label, and test texts whose label no teacher knows."""
    path = tiny.save_project(tmp_path_factory.mktemp("unknown"), integrate=UNKNOWN)
    with (path.parent / "test.csv").open("a") as file:
        file.writelines(f"fish,{text}\n" for text in tiny.texts(6, seed=3))
    tiny.finish(path)
    return path


def test_foreign_texts_are_taught_as_the_last_label(finished: Path) -> None:
    golden = pl.read_parquet(finished.parent / "data" / "golden" / "*.parquet")
    targets, weights = golden["target"].to_numpy(), golden["weight"].to_numpy()
    manifest = json.loads((finished.parent / "data" / "golden" / "manifest.json").read_text())
    is_foreign = targets[:, -1] == 1
    assert manifest["labels"] == LABELS
    assert is_foreign.sum() == manifest["foreign"] == 9
    assert manifest["abstained"] == 0
    assert (targets[~is_foreign, -1] == 0).all()
    np.testing.assert_allclose(targets.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(weights[is_foreign], 1)
    assert weights[~is_foreign].mean() == pytest.approx(1, rel=1e-5)


def test_the_student_is_measured_on_texts_that_no_teacher_knows(finished: Path) -> None:
    found = evaluate.main(finished)
    student = found["student"]
    assert student["rows"] == 36
    assert student["rows_of_unknown_labels"] == 6
    assert found["test_set"] == {
        "rows": 36,
        "rows_of_unknown_labels": 0,
        "rows_measured_as_unknown": 6,
        "labels_measured_as_unknown": "'fish' (6)",
    }
    assert found["routed_teachers"]["rows"] == 30, "teachers are asked only about texts that one of them knows"
    assert found["student"]["accuracy"] == pytest.approx(
        (6 * student["unknown_found"] + 30 * student["accuracy_of_known"]) / 36
    )
    shown = [title for title, _, _ in results.test_set(found)]
    assert "texts of no teacher that it knows as such" in shown


def test_card_report_and_predictions_know_the_label(finished: Path) -> None:
    evaluate.main(finished)
    report.main(finished)
    page = (finished.parent / "data" / "report.html").read_text()
    assert "9 texts seem to belong to no teacher" in page
    assert "5 labels; no label is known to more than one teacher" in page
    card = (finished.parent / "data" / "student" / "README.md").read_text()
    assert "The label other stands for texts of none of the others: it was taught the 9 texts" in card
    assert "Every text gets one of the labels" not in card


def test_the_report_is_of_the_label_that_was_taught(finished: Path, tmp_path: Path) -> None:
    evaluate.main(finished)
    shutil.copytree(finished.parent, tmp_path / "p")
    tiny.change(tmp_path / "p" / "params.yaml", "integrate", unknown_label="foreign")  # and nothing has run since
    report.main(tmp_path / "p" / "params.yaml")
    page = (tmp_path / "p" / "data" / "report.html").read_text()
    assert "Which labels the student confuses" in page
    assert "are taught as other" in page


def test_rules_are_compared_without_it_and_it_is_said(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny.change(finished, "compare", rules=["gate"], seeds=[0])
    assert len(compare.main(finished)["students"]) == 1
    assert "the label other (integrate.unknown_label) is left out" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"unknown_label": "other"}, "unknown_label needs unknown_share"),
        ({**UNKNOWN, "strategy": "uhc", "scorer": "mc_entropy"}, "strategy uhc learns from teachers alone"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], error: str) -> None:
    with pytest.raises(ValidationError, match=error):
        config.Integrate(**settings)


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_labelled(tmp_path_factory.mktemp("labelled"))


@pytest.mark.parametrize("scorer", ["gate", "mc_entropy"])
def test_the_least_familiar_texts_weigh_nothing(
    labelled: Path, tmp_path: Path, scorer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(labelled.parent, tmp_path / "p")
    path = tmp_path / "p" / "params.yaml"
    tiny.change(path, "integrate", unknown_share=0.5, scorer=scorer, strategy="soft")
    stage.main(path)
    err = " ".join(capsys.readouterr().err.split())
    data = path.parent / "data"
    frame = pl.read_parquet(data / "golden" / "*.parquet")
    assert "30 of them have weight 0: no teacher answers or knows them" in err
    assert (frame["weight"] == 0).sum() == 30
    assert frame.filter(pl.col("weight") > 0)["weight"].mean() == pytest.approx(1, rel=1e-5)
    params, layout = config.load(path)
    assert golden_summary(params, layout, {}).taught.sum() == 30, "the others teach nothing"
    if scorer == "gate":
        return
    labels = [pl.read_parquet(data / "labels" / name / "*.parquet") for name in ("one", "two")]
    logs = (math.log(3), math.log(2))
    surest = np.maximum(*(1 - said["entropy"].to_numpy() / log for said, log in zip(labels, logs, strict=True)))
    is_taught = frame["weight"].to_numpy() > 0
    assert surest[~is_taught].max() < surest[is_taught].min()


def test_foreign_texts_are_not_counted_for_the_teachers_labels(
    labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[int] = []

    def seen(router: Router, sums: Sums) -> RoutingSummary | None:
        counted.append(sums.targets.total())
        return summarise(router, sums)

    monkeypatch.setattr("muki_pipeline.supervision.integrate.summarise", seen)
    shutil.copytree(labelled.parent, tmp_path / "p")
    path = tmp_path / "p" / "params.yaml"
    tiny.change(path, "integrate", unknown_share=0.4, unknown_label="other")
    params, layout = config.load(path)
    found = integrate(params, layout, layout.golden)
    assert found.foreign == 24
    assert counted == [60 - 24]


def test_a_name_that_a_teacher_uses_is_refused(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished.parent, tmp_path / "p")
    path = tmp_path / "p" / "params.yaml"
    tiny.change(path, "integrate", unknown_label="oak")
    params, layout = config.load(path)
    with pytest.raises(MukiError, match="'oak' is a label that a teacher knows"):
        integrate(params, layout, layout.golden)


def test_measures_that_cannot_be_taken_are_absent() -> None:
    predicted, gold = np.array([0, 2, 2, 1]), np.array([0, 2, 1, 1])
    assert unknown_measures(predicted, gold, 2) == {
        "rows_of_unknown_labels": 1,
        "rows_of_known_labels": 3,
        "unknown_found": 1.0,
        "accuracy_of_known": pytest.approx(2 / 3),
        "known_called_unknown": pytest.approx(1 / 3),
    }
    assert "unknown_found" not in unknown_measures(np.array([0]), np.array([0]), 2)
    assert "accuracy_of_known" not in unknown_measures(np.array([2]), np.array([2]), 2)
