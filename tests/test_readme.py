"""README.md: its Python runs as it stands, and it names every key and every command."""

import re
from pathlib import Path
from textwrap import dedent
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from pipeline import config
from pipeline.corpus.prepare import prepare
from pipeline.integration.integrate import integrate
from pipeline.labelling.run import label_corpus
from pipeline.training.student import train_student
from stages import cli
from tests import tiny

README = (Path(__file__).parents[1] / "README.md").read_text()
BLOCKS = [dedent(block) for block in re.findall(r"^ *```python\n(.*?)^ *```", README, re.DOTALL | re.MULTILINE)]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose teachers are called as the demo's are."""
    teachers = {"rec": ["autos", "hockey"], "sci": ["med", "space", "crypt"], "politics": ["guns", "misc"]}
    path = tiny.save_project(tmp_path_factory.mktemp("readme"), teachers=teachers)
    params, layout = config.load(path)
    prepare(params.prepare, layout)
    for name, teacher in params.teachers.items():
        label_corpus(name, teacher, params.label, layout)
    integrate(params, layout, layout.golden)
    train_student(params.student, layout.golden, layout.student, layout.work / "student", layout.root)
    return path.parent


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_python_blocks_run(finished: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.chdir(finished)
    exec(compile(BLOCKS[number], f"README.md, block {number}", "exec"), {})


def test_there_are_blocks_for_every_table() -> None:
    for folder in ("data/corpus", "data/labels", "data/golden", "data/eval", "data/student"):
        assert any(folder in block for block in BLOCKS), folder


def keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    found = []
    for name, field in model.model_fields.items():
        found.append(name)
        for inner in (field.annotation, *get_args(field.annotation)):
            candidates: tuple[Any, ...] = (inner, *get_args(inner))
            for candidate in candidates:
                if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                    found += keys(candidate)
    return found


@pytest.mark.parametrize("key", sorted(set(keys(config.Params))))
def test_every_key_is_explained(key: str) -> None:
    assert f"`{key}`" in README or f"`{key}:" in README or f".{key}`" in README, key


@pytest.mark.parametrize("command", [command.callback.__name__ for command in cli.app.registered_commands])
def test_every_command_is_explained(command: str) -> None:
    assert f"`{command.replace('_', '-')}" in README
