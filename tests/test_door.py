"""What a user has beside the program does not get into it, and the checkout has one copy of the code."""

import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import muki_pipeline
from tests import tiny

ROOT = Path(__file__).parents[1]
TRAP = "raise SystemExit('the file of a user was imported')\n"
WAYS = {
    "command line": ["muki-pipeline", "label", "--teacher", "one"],
    "worker processes": ["muki-pipeline", "label", "--teacher", "all", "--workers", "2"],
    "Ray": ["muki-pipeline", "label", "--teacher", "all", "--engine", "ray", "--workers", "2"],
    "several trainers": ["muki-pipeline", "train-student", "--processes", "2"],
    "torchrun": ["torchrun", "--nproc-per-node", "2", "--no-python", "muki-pipeline", "train-student"],
    "comparison": ["muki-pipeline", "compare"],
    "Python": [sys.executable, "ours.py"],
}
SCRIPT = """
from muki_pipeline import Project

if __name__ == "__main__":
    assert len(Project.load("params.yaml").label("one")) == 30
"""


def plain() -> dict[str, str]:
    """The environment of a user, who has not set what this program sets for its own processes."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tiny.save_project(tmp_path_factory.mktemp("door"), compare={"rules": ["muki"], "seeds": [0, 1]})
    tiny.finish(path)
    return path.parent


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    """A project beside files that are called like the program's folders and Python's modules."""
    copy = tmp_path / "project"
    shutil.copytree(finished, copy)
    (copy / "stages").mkdir()
    for name in ("pipeline.py", "inspect.py", "stages/__init__.py", "stages/cli.py"):
        (copy / name).write_text(TRAP)
    (copy / "ours.py").write_text(SCRIPT)
    return copy


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_files_of_a_user_are_left_alone(folder: Path, way: str) -> None:
    if way == "Python":
        (folder / "inspect.py").unlink()  # beside a script it hides Python's own from every library
    forgotten = {"compare": "compare", "train-student": "student"}  # what is finished would start no process
    made = next((made for command, made in forgotten.items() if command in WAYS[way]), "labels")
    for place in (folder / "data" / made, folder / "data" / ".work" / made):
        shutil.rmtree(place, ignore_errors=True)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = plain() | {"PATH": path}
    done = subprocess.run(WAYS[way], cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["pipeline", "stages"])
def test_the_checkout_has_no_second_copy(name: str) -> None:
    command = [sys.executable, "-c", f"import {name}"]
    done = subprocess.run(command, cwd=ROOT, env=plain(), capture_output=True, text=True, check=False)
    assert "ImportError: this folder only holds the code: import muki_" in done.stderr


@pytest.mark.parametrize("name", muki_pipeline.__all__)
def test_the_face_has_what_it_promises(name: str) -> None:
    named = getattr(muki_pipeline, name)
    assert getattr(importlib.import_module(named.__module__), name) is named


def test_the_face_is_light() -> None:
    code = "import sys, muki_pipeline; print({'torch', 'transformers', 'polars', 'pydantic'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        muki_pipeline.nothing  # noqa: B018
