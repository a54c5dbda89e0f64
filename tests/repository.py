"""A git and DVC repository of the project's code and stages, with tiny models and texts."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from muki_pipeline import config, strict_yaml
from muki_pipeline.setup import dvc
from tests import tiny

ROOT = Path(__file__).parents[1]
_SETTINGS = ("config.py", "blocks.py", "names.py", "store")
_MODELS = (*_SETTINGS, "corpus", "models")
_TRAINING = (*_SETTINGS, "models", "training")
_ROOMS = {
    "prepare": _MODELS,
    "train-teacher": _TRAINING,
    "label": (*_MODELS, "labelling"),
    "embed": (*_MODELS, "embedding", "labels"),
    "integrate": (*_SETTINGS, "corpus", "labels", "routing", "supervision"),
    "train-student": _TRAINING,
    "evaluate": (
        *_MODELS,
        *("embedding", "evaluation", "labelling", "labels", "routing", "supervision"),
        "reporting/figures.py",
    ),
}
CODE = {stage: [f"pipeline/muki_pipeline/{name}" for name in rooms] for stage, rooms in _ROOMS.items()}
"""The code that the stages of each command depend on in this repository (tests/test_house.py holds it against them)."""
HEADER = """\
# The demo's stages, written from params.yaml by `make docs`. Besides what every project's stages depend on, they
# depend on the code that they use. The modules in stages/ only call that code, so they are not listed.
"""


def stages(params: Path) -> str:
    """The dvc.yaml of a project that has the code beside it."""
    return dvc.render(*config.load(params), header=HEADER, code=CODE)


def environment() -> dict[str, str]:
    """The environment of commands: this Python's programs come first."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "DVC_NO_ANALYTICS": "1"}


class Repository:
    """A repository in a folder.

    Attributes:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def create(cls, root: Path) -> "Repository":
        """Copy the code, and save tiny models and texts: two teachers that are there, and one that is trained."""
        for name in ("pipeline", "stages", ".dvc"):
            shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__", "cache", "tmp"))
        shutil.copy(ROOT / ".dvcignore", root)
        repository = cls(root)
        tiny.save_project(root)
        repository.change("prepare", "rows_per_label", 3)
        repository.change(
            "train_teacher", "settings", {"model": "models/base", "steps": 3, "batch_size": 4, "max_length": 16}
        )
        repository.change("train_teacher", "teachers", {"own": {"labels": ["oak", "apple"]}})
        repository.change("teachers", "own", {"model": "data/teachers/own"})
        repository.change("evaluate", "routing_rows_per_label", 2)
        repository.change("embed", "max_length", 24)
        repository.write_stages()
        repository.run("git", "init", "--quiet")
        return repository

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start a command in a process group of its own."""
        return subprocess.Popen(
            command,
            cwd=self.root,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *command: str) -> str:
        """Run a command that must succeed; returns what it printed."""
        process = self.start(*command)
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output
        return output

    def change(self, block: str, key: str, value: Any) -> None:
        """Set a key of params.yaml, or remove it with None."""
        path = self.root / "params.yaml"
        content = strict_yaml.read(path.read_text())
        content.setdefault(block, {})[key] = value
        if value is None:
            del content[block][key]
        path.write_text(strict_yaml.write(content))

    def write_stages(self) -> None:
        """Make dvc.yaml from params.yaml."""
        (self.root / "dvc.yaml").write_text(stages(self.root / "params.yaml"))

    def repro(self) -> list[str]:
        """Run `dvc repro`; returns the names of the stages that ran."""
        return re.findall(r"Running stage '([^']+)'", self.run("dvc", "repro"))
