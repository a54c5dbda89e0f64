"""The pipeline under the real DVC, on tiny models, in a repository of its own."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import tiny

ROOT = Path(__file__).parents[1]
AFTER_INTEGRATE = ["integrate", "train-student", "evaluate"]
AFTER_LABELS = ["embed", *AFTER_INTEGRATE]

pytestmark = pytest.mark.slow


class Repository:
    """A clone of the project's code and stages, with tiny models and texts."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("pipeline", "stages", ".dvc"):
            shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__", "cache", "tmp"))
        for name in ("dvc.yaml", ".dvcignore"):
            shutil.copy(ROOT / name, root)
        tiny.save_project(root)
        tiny.save_teacher(root / "models" / "three", ["ash", "fir"], seed=5)
        self.change("prepare", "rows_per_label", 3)
        self.change(
            "train_teacher",
            "settings",
            {"model": "models/base", "steps": 3, "batch_size": 4, "max_length": 16},
        )
        self.change("train_teacher", "teachers", {"own": {"labels": ["oak", "apple"]}})
        self.change("teachers", "own", {"model": "data/teachers/own", "watch": "data/teachers/own"})
        self.change("evaluate", "routing_rows_per_label", 2)
        self.change("embed", "max_length", 24)
        self.run("git", "init", "--quiet")

    def run(self, *command: str) -> str:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "DVC_NO_ANALYTICS": "1"}
        done = subprocess.run(
            command, cwd=self.root, env=environment, capture_output=True, text=True, check=False, timeout=300
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def change(self, block: str, key: str, value: Any) -> None:
        path = self.root / "params.yaml"
        content = yaml.safe_load(path.read_text())
        content.setdefault(block, {})[key] = value
        if value is None:
            del content[block][key]
        path.write_text(yaml.safe_dump(content, sort_keys=False))

    def golden(self) -> dict[str, Any]:
        facts: dict[str, Any] = json.loads((self.root / "data" / "golden" / "manifest.json").read_text())
        return facts

    def repro(self) -> list[str]:
        """Names of the stages that ran."""
        return re.findall(r"Running stage '([^']+)'", self.run("dvc", "repro"))

    def changed(self) -> set[str]:
        """Names of the stages that would run because of what changed in their own dependencies."""
        return set(re.findall(r"^([\w@-]+):$", self.run("dvc", "status"), re.MULTILINE))


def test_only_what_changed_runs_again(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    assert sorted(repository.repro()) == sorted(
        ["prepare", "train-teacher@own", "label@one", "label@two", "label@own", *AFTER_LABELS]
    )
    assert repository.repro() == []
    assert "up to date" in repository.run("dvc", "status")

    repository.change("integrate", "temperature", 0.5)
    assert repository.repro() == AFTER_LABELS  # label names are embedded anew, because aliases are settings too

    repository.change("teachers", "three", {"model": "models/three", "watch": "models/three"})
    assert repository.repro() == ["label@three", *AFTER_LABELS]
    assert repository.golden()["labels"][-2:] == ["ash", "fir"]

    repository.change("teachers", "one", None)
    assert repository.repro() == AFTER_LABELS
    assert (tmp_path / "data" / "labels" / "one" / "manifest.json").exists()
    assert list(repository.golden()["teachers"]) == ["two", "own", "three"]

    # What would run, asked without running it.
    metrics = tmp_path / "pipeline" / "evaluation" / "metrics.py"
    metrics.write_text(metrics.read_text() + "\n# changed\n")
    assert repository.changed() == {"evaluate"}
    weights = tmp_path / "models" / "two" / "model.safetensors"
    tiny.save_teacher(weights.parent, tiny.TEACHER_LABELS["two"], seed=8)
    assert repository.changed() == {"evaluate", "label@two"}
    repository.change("label", "passes", 4)
    assert {"label@two", "label@own", "label@three"} <= repository.changed()
    plots = json.loads(repository.run("dvc", "plots", "show", "--json"))["data"]
    assert {Path(name).name for name in plots} == {"confusion", "training", "uncertainty.png"}
    assert all(plots.values())
