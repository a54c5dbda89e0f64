"""Faults between the commands of the real DVC, with each type of link between its cache and the tables."""

import hashlib
import os
import random
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

from tests.faults import project
from tests.repository import Repository

CACHE_TYPES = ("copy", "hardlink", "symlink")
SETTINGS: dict[str, tuple[str, str, Any]] = {
    "first": ("integrate", "temperature", 0.2),
    "another temperature": ("integrate", "temperature", 0.7),
    "more passes": ("label", "passes", 5),
}
"""By name, what differs from the tiny project: block, key and value."""
Event = Callable[[Repository], str]
"""Does something to a repository whose tables are the first ones; returns which settings' tables there must now be."""


def cases(folder: Path) -> Iterator[tuple[str, Callable[[Path], list[str]]]]:
    """Every event with every type of link."""

    @cache
    def made(name: str) -> Path:
        repository = Repository.create(folder / name)
        repository.change(*SETTINGS["first"])
        repository.change(*SETTINGS[name])
        repository.repro()
        for command in (("add", "--all"), ("-c", "user.name=x", "-c", "user.email=x", "commit", "--quiet", "-m", "x")):
            repository.run("git", *command)
        return repository.root

    states = {name: project.state(made(name)) for name in SETTINGS}

    def case(cache_type: str, event: Event) -> Callable[[Path], list[str]]:
        def job(root: Path) -> list[str]:
            shutil.copytree(made("first"), root, symlinks=True)
            repository = Repository(root)
            repository.run("dvc", "config", "cache.type", cache_type)
            shutil.rmtree(root / "data")
            repository.run("dvc", "checkout", "--relink", "--force")
            repository.run("git", "checkout", "--", "data")
            what = f"{event.__name__}, {cache_type}"
            try:
                expected = states[event(repository)]
                found = project.state(root)
                ran = repository.repro()
            except AssertionError as failed:
                return [f"{what}: {failed}"]
            bad = [f"{what}: {name} is not what it should be" for name in found if found[name] != expected[name]]
            bad += [f"{what}: the cache's {path.name} was changed" for path in _changed_in_cache(root)]
            if ran:
                bad.append(f"{what}: {ran} ran again for nothing")
            return bad

        return job

    for event, cache_type in product(EVENTS, CACHE_TYPES):
        yield "between DVC's commands", case(cache_type, event)


def _changed_in_cache(root: Path) -> list[Path]:
    """Files of DVC's cache whose content is not the one that they are named after."""
    files = [path for path in (root / ".dvc" / "cache" / "files" / "md5").rglob("*") if path.is_file()]
    assert files
    return [
        path
        for path in files
        if hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
        != f"{path.parent.name}{path.stem if path.suffix == '.dir' else path.name}"
    ]


def changed_and_back(repository: Repository) -> str:
    """Settings change, and change back."""
    repository.change(*SETTINGS["another temperature"])
    repository.repro()
    repository.run("git", "checkout", "--", "params.yaml")
    repository.repro()
    return "first"


def collected(repository: Repository) -> str:
    """Older tables are collected from the cache, then wanted again."""
    repository.change(*SETTINGS["another temperature"])
    repository.repro()
    repository.run("dvc", "gc", "--workspace", "--force")
    repository.run("git", "checkout", "--", "params.yaml")
    repository.repro()
    return "first"


def killed(repository: Repository) -> str:
    """`dvc repro` and its command are killed, then run again."""
    repository.change(*SETTINGS["more passes"])
    process = repository.start("dvc", "repro")
    try:
        process.wait(random.uniform(3, 40))
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    repository.repro()
    return "more passes"


def deleted(repository: Repository) -> str:
    """Tables and a file of the student are deleted, then checked out."""
    for name in ("labels/one", "golden"):
        shutil.rmtree(repository.root / "data" / name)
    (repository.root / "data" / "student" / "model.safetensors").unlink()
    repository.run("dvc", "checkout", "--force")
    return "first"


def experiment(repository: Repository) -> str:
    """An experiment with other settings."""
    block, key, value = SETTINGS["another temperature"]
    repository.run("dvc", "exp", "run", "--set-param", f"{block}.{key}={value}")
    return "another temperature"


def damaged(repository: Repository) -> str:
    """A table is damaged; a command that reads it refuses, and a checkout restores it."""
    path = next((repository.root / "data" / "labels" / "one").glob("*.parquet"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.unlink()
    path.write_bytes(content)
    repository.change(*SETTINGS["another temperature"])
    process = repository.start("muki-pipeline", "integrate")
    output, _ = process.communicate()
    assert process.returncode == 2, output
    repository.run("git", "checkout", "--", "params.yaml")
    repository.run("dvc", "checkout", "--force")
    return "first"


def beside(repository: Repository) -> str:
    """A command is run by hand with other settings, beside DVC; then `dvc repro`."""
    repository.change(*SETTINGS["more passes"])
    repository.run("muki-pipeline", "label", "--teacher", "one")
    repository.repro()
    return "more passes"


EVENTS: tuple[Event, ...] = (changed_and_back, collected, killed, deleted, experiment, damaged, beside)
