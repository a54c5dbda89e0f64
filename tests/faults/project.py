"""A tiny project before each of its commands, what each command must make of it, and what state its outputs are in."""

import hashlib
import json
import multiprocessing
import shutil
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

import yaml

from muki_pipeline.errors import MukiError
from muki_pipeline.layout import Layout
from muki_pipeline.store.folders import is_sealed
from muki_pipeline.store.table import Table, read_table_file
from tests import tiny
from tests.faults import child
from tests.faults.child import Fault

COMMANDS: dict[str, tuple[str, ...]] = {
    "prepare": ("prepare",),
    "label one": ("label", "--teacher", "one"),
    "label two": ("label", "--teacher", "two"),
    "embed": ("embed",),
    "integrate": ("integrate",),
    "train-student": ("train-student",),
    "evaluate": ("evaluate",),
}
ABSENT, REFUSED = "absent", "refused"
"""States in which the next command stops instead of using the table."""
_CONTEXT: ForkServerContext = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.faults.child"])
TIMEOUT = 300


@dataclass(frozen=True)
class Outcome:
    """What a process did.

    Attributes:
        code: Its exit code; negative for a signal.
        output: What it printed.
    """

    code: int
    output: str


NO_FAULT = Fault()


def start(root: Path, command: str, fault: Fault = NO_FAULT, name: str = "log") -> tuple[ForkServerProcess, Path]:
    """Start a command; its output goes to the returned file."""
    log = root.with_name(f"{root.name}.{name}")
    process = _CONTEXT.Process(target=child.main, args=(root, COMMANDS[command], fault, log))
    process.start()
    return process, log


def run(root: Path, command: str, fault: Fault = NO_FAULT) -> Outcome:
    """Run a command to its end."""
    process, log = start(root, command, fault)
    process.join(TIMEOUT)
    if process.exitcode is None:
        process.kill()
        process.join()
        return Outcome(-99, "it did not end")
    return outcome(process, log)


def outcome(process: ForkServerProcess, log: Path) -> Outcome:
    """What a process that has ended did."""
    written = Path(f"{log}.code")
    code = int(written.read_text()) if written.exists() else process.exitcode
    written.unlink(missing_ok=True)
    return Outcome(-1 if code is None else code, log.read_text(errors="replace") if log.exists() else "")


def state(root: Path) -> dict[str, str]:
    """Of every output, a digest of what a reader would get, or `absent`, or `refused`."""
    layout = Layout(root)
    tables = {
        "corpus": layout.corpus,
        "label one": layout.labels("one"),
        "label two": layout.labels("two"),
        "embeddings": layout.embeddings,
        "names": layout.label_names,
        "golden": layout.golden,
    }
    found = {name: _table(folder) for name, folder in tables.items()}
    found |= {path.stem: _single(path) for path in (layout.test, layout.corpus_gold)}
    found["student"] = _student(layout.student)
    found["metrics"] = _digest(layout.metrics.read_bytes()) if layout.metrics.exists() else ABSENT
    return found


OUTPUTS = {
    "prepare": ("corpus", "test", "corpus_gold"),
    "label one": ("label one",),
    "label two": ("label two",),
    "embed": ("embeddings", "names"),
    "integrate": ("golden",),
    "train-student": ("student",),
    "evaluate": ("metrics",),
}


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _table(folder: Path) -> str:
    if not (folder / "manifest.json").exists():
        return ABSENT
    try:
        table = Table.open(folder, "x")
        content = [shard.read().to_pylist() for shard in table.shards]
    except MukiError:
        return REFUSED
    return _digest(json.dumps([content, table.facts], sort_keys=True).encode())


def _single(path: Path) -> str:
    if not path.exists():
        return ABSENT
    try:
        return _digest(json.dumps(read_table_file(path, None, "x").to_pylist()).encode())
    except MukiError:
        return REFUSED


def _student(folder: Path) -> str:
    if not (folder / "config.json").exists():
        return ABSENT
    names = ("model.safetensors", "config.json", "tokenizer.json")
    return _digest(b"".join((folder / name).read_bytes() for name in names)) if is_sealed(folder) else REFUSED


def finished_shards(root: Path) -> dict[str, int]:
    """Finished shards of the work folder, with the time of writing."""
    found = (root / "data" / ".work").rglob("*.parquet")
    return {
        str(path.relative_to(root)): path.stat().st_mtime_ns for path in found if path.with_suffix(".json").exists()
    }


@dataclass(frozen=True)
class Case:
    """A project just before a command, whose output is still that of other settings.

    Attributes:
        command: The command.
        before: The project.
        old: State before.
        new: State after an undisturbed run.
    """

    command: str
    before: Path
    old: dict[str, str]
    new: dict[str, str]

    def copy(self, target: Path) -> Path:
        """A copy to break."""
        shutil.copytree(self.before, target, symlinks=True)
        return target

    def judge(self, found: dict[str, str]) -> list[str]:
        """What of the command's outputs is neither old, nor new, nor refused; and what of the others has changed."""
        bad = []
        for name, value in found.items():
            own = name in OUTPUTS[self.command]
            allowed = {self.old[name], self.new[name], ABSENT, REFUSED} if own else {self.old[name]}
            if value not in allowed:
                bad.append(f"{name} is neither old nor new" if own else f"{name} was changed")
        return bad


def _settings(path: Path, **blocks: dict[str, object]) -> None:
    content = yaml.safe_load(path.read_text())
    for name, changes in blocks.items():
        content.setdefault(name, {}).update(changes)
    path.write_text(yaml.safe_dump(content, sort_keys=False))


def cases(root: Path) -> list[Case]:
    """All commands' cases: everything is made by one set of settings, then command by command by another."""
    models = root / "models"
    work = root / "work"
    params = tiny.save_project(work)
    (work / "models").rename(models)
    (work / "models").symlink_to(models)
    _settings(params, student={"checkpoint_steps": 3}, embed={"max_length": 24})
    for command in COMMANDS:
        _expect_success(work, command)
    _settings(
        params,
        prepare={"shard_rows": 7, "seed": 1},
        label={"passes": 4},
        embed={"max_length": 20},
        integrate={"temperature": 0.3},
        student={"seed": 1, "checkpoint_steps": 4},
    )
    corpus = work / "corpus.csv"
    corpus.write_text(corpus.read_text() + 'apple,"w1 w2 a text more"\n')
    found = []
    for number, command in enumerate(COMMANDS):
        before = root / f"before-{number}"
        shutil.copytree(work, before, symlinks=True)
        old = state(work)
        _expect_success(work, command)
        found.append(Case(command, before, old, state(work)))
    return found


def _expect_success(root: Path, command: str) -> None:
    outcome = run(root, command)
    if outcome.code != 0:
        raise RuntimeError(f"{command} failed without a fault: {outcome.output}")
