"""The pipeline under the real DVC, on tiny models, in a repository of its own."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests import tiny
from tests.repository import Repository

AFTER_INTEGRATE = ["integrate", "train-student", "evaluate"]
AFTER_LABELS = ["embed", *AFTER_INTEGRATE]

pytestmark = pytest.mark.slow


def golden(repository: Repository) -> dict[str, Any]:
    """The facts in the golden table's manifest."""
    facts: dict[str, Any] = json.loads((repository.root / "data" / "golden" / "manifest.json").read_text())
    return facts


def changed(repository: Repository) -> set[str]:
    """Names of the stages that would run because of what changed in their own dependencies."""
    return set(re.findall(r"^([\w@-]+):$", repository.run("dvc", "status"), re.MULTILINE))


def test_only_what_changed_runs_again(tmp_path: Path) -> None:
    repository = Repository.create(tmp_path)
    tiny.save_teacher(tmp_path / "models" / "three", ["ash", "fir"], seed=5)
    assert sorted(repository.repro()) == sorted(
        ["prepare", "train-teacher@own", "label@one", "label@two", "label@own", *AFTER_LABELS]
    )
    assert repository.repro() == []
    assert "up to date" in repository.run("dvc", "status")

    # A new teacher runs alone; one that is gone costs nothing and keeps its labels.
    repository.change("teachers", "three", {"model": "models/three"})
    repository.change("teachers", "one", None)
    assert repository.repro() == ["label@three", *AFTER_LABELS]
    assert (tmp_path / "data" / "labels" / "one" / "manifest.json").exists()
    assert list(golden(repository)["teachers"]) == ["two", "own", "three"]
    assert golden(repository)["labels"][-2:] == ["ash", "fir"]

    # What would run, asked without running it.
    metrics = tmp_path / "pipeline" / "evaluation" / "metrics.py"
    metrics.write_text(metrics.read_text() + "\n# changed\n")
    assert changed(repository) == {"evaluate"}
    repository.change("integrate", "temperature", 0.5)
    # Label names are embedded anew, because aliases are settings too.
    assert changed(repository) == {"embed", "integrate", "evaluate"}
    weights = tmp_path / "models" / "two" / "model.safetensors"
    tiny.save_teacher(weights.parent, tiny.TEACHER_LABELS["two"], seed=8)
    assert changed(repository) == {"embed", "integrate", "evaluate", "label@two"}
    repository.change("label", "passes", 4)
    assert {"label@two", "label@own", "label@three"} <= changed(repository)
    plots = json.loads(repository.run("dvc", "plots", "show", "--json"))["data"]
    assert {Path(name).name for name in plots} == {"confusion", "training", "uncertainty.png"}
    assert all(plots.values())
