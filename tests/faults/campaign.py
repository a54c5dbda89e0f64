"""The kinds of fault: what is injected, and which outcomes are allowed."""

import os
import random
import re
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import combinations, count, product
from pathlib import Path

from muki_pipeline.errors import MukiError
from muki_pipeline.store.table import Table
from tests.faults import project
from tests.faults.changes import CHANGES
from tests.faults.child import ERRORS, Fault
from tests.faults.project import COMMANDS, OUTPUTS, Case

SIZES = (1_000, 2_000, 3_000, 5_000, 10_000, 30_000)
"""Sizes in bytes that no file can exceed: writes end in the middle or near the end. The log must fit."""
_ONE_LINE = re.compile(r"^error: .*\.$", re.MULTILINE)
Job = Callable[[Path], list[str]]


@dataclass
class Row:
    """A line of the table.

    Attributes:
        kind: What was injected.
        runs: How often.
        left: How many cases more there was no time for.
        bad: Outcomes that are not allowed, each described.
        seconds: How long it took.
    """

    kind: str
    runs: int = 0
    left: int = 0
    bad: list[str] = field(default_factory=list)
    seconds: float = 0.0


def operations(case: Case, scratch: Path) -> int:
    """How many file operations a command makes."""
    output = project.run(case.copy(scratch), case.command, Fault("count")).output
    shutil.rmtree(scratch)
    return int(re.findall(r"operations: (\d+)", output)[-1])


def recover(case: Case, root: Path, what: str) -> list[str]:
    """Check what a fault left behind, run the command undisturbed, and check again."""
    bad = [f"{what}: {each}" for each in case.judge(project.state(root))]
    before = project.finished_shards(root)
    again = project.run(root, case.command)
    if again.code != 0:
        bad.append(f"{what}: the rerun ends with {again.code}: {again.output[-300:]}")
    after = project.state(root)
    bad += [
        f"{what}: after the rerun {name} differs" for name in OUTPUTS[case.command] if after[name] != case.new[name]
    ]
    now = project.finished_shards(root)
    if any(now.get(name) != written for name, written in before.items()):
        bad.append(f"{what}: a finished shard was lost or made again")
    return bad


def with_fault(case: Case, fault: Fault, what: str) -> Job:
    """A command with a fault, and its recovery. Errors must end in one line with exit code 2, or do no harm."""

    def job(root: Path) -> list[str]:
        case.copy(root)
        outcome = project.run(root, case.command, fault)
        bad = []
        is_one_line = outcome.code == 2 and len(_ONE_LINE.findall(outcome.output)) == 1
        if fault.kind in ("error", "size") and outcome.code != 0 and (not is_one_line or "Traceback" in outcome.output):
            bad.append(f"{what}: exit code {outcome.code}: {outcome.output[-400:]}")
        return bad + recover(case, root, what)

    return job


def at_every_operation(cases: list[Case], scratch: Path, share: float) -> Iterator[tuple[str, Job]]:
    """Kill, and each kind of error, at every file operation of every command."""
    totals = {case.command: operations(case, scratch / "count") for case in cases}
    faults = [("killed", "kill", 0), *((name, "error", code) for name, code in ERRORS.items())]
    for name, kind, code in faults:
        for case in cases:
            for number in range(1, totals[case.command] + 1):
                if random.random() < share:
                    what = f"{name} at {case.command}, operation {number} of {totals[case.command]}"
                    yield f"{name} at a file operation", with_fault(case, Fault(kind, number, code), what)
    for case, size in product(cases, SIZES):
        if random.random() < share:
            what = f"{case.command}, no file beyond {size} bytes"
            yield "writes that end in the middle", with_fault(case, Fault("size", size), what)


def killed_at_random(cases: list[Case], kills: int) -> Iterator[tuple[str, Job]]:
    """Kill -9 at random moments."""

    def kill(case: Case, moment: float) -> Job:
        def job(root: Path) -> list[str]:
            case.copy(root)
            process, _ = project.start(root, case.command)
            process.join(moment)
            process.kill()
            process.join()
            return recover(case, root, f"{case.command} killed after {moment:.2f} s")

        return job

    for case in cases:
        for _ in range(kills):
            yield "killed at a random moment", kill(case, random.uniform(0, 2.0))


def flipped(cases: list[Case], flips: int) -> Iterator[tuple[str, Job]]:
    """A flipped bit in a file that a command reads: the same numbers, or refused by name."""

    def flip(case: Case) -> Job:
        def job(root: Path) -> list[str]:
            case.copy(root)
            files = [path for path in (root / "data").rglob("*") if path.suffix in _READ and path.stat().st_size]
            path = random.choice([each for each in files if _reads(case.command, each.relative_to(root / "data"))])
            content = bytearray(path.read_bytes())
            position = random.randrange(8 * len(content))
            content[position // 8] ^= 1 << position % 8
            path.unlink()
            path.write_bytes(content)
            outcome = project.run(root, case.command)
            what = f"{case.command}, bit {position} of {path.relative_to(root)}"
            if outcome.code == 0:
                found = project.state(root)
                return [f"{what}: {name} differs" for name in OUTPUTS[case.command] if found[name] != case.new[name]]
            is_refused = outcome.code == 2 and len(_ONE_LINE.findall(outcome.output)) == 1
            return [] if is_refused else [f"{what}: exit code {outcome.code}: {outcome.output[-400:]}"]

        return job

    readers = [case for case in cases if case.command != "prepare"]
    for number in range(flips):
        yield "a flipped bit", flip(readers[number % len(readers)])


_READ = {".parquet", ".json", ".safetensors"}


def _reads(command: str, path: Path) -> bool:
    """Whether a command reads a file of data/; its own old output is none of its inputs."""
    inputs = {
        "label": ("corpus", ".work/labels"),
        "embed": ("corpus", "labels", ".work/embeddings"),
        "integrate": ("corpus", "labels", "embeddings"),
        "train-student": ("golden", ".work/student"),
        "evaluate": ("corpus", "labels", "embeddings", "golden", "eval", "student"),
    }[command.split()[0]]
    return any(path.as_posix().startswith(f"{folder}/") for folder in inputs) and "generation" not in path.name


def truncated(cases: list[Case]) -> Iterator[tuple[str, Job]]:
    """Every length of a small shard."""
    folder = cases[-1].before / "data" / "golden"

    def job(root: Path) -> list[str]:
        shutil.copytree(folder, root)
        shard = Table.open(root, "x").shards[0]
        content = (root / shard.file).read_bytes()
        bad = []
        for length in range(len(content)):
            (root / shard.file).write_bytes(content[:length])
            try:
                shard.read()
                bad.append(f"a shard cut to {length} bytes was read")
            except MukiError:
                continue
        return bad

    yield "a shard cut to every length", job


def races(cases: list[Case], rounds: int) -> Iterator[tuple[str, Job]]:
    """Two or four processes of the same command at once: right, or refused."""

    def race(case: Case, processes: int) -> Job:
        def job(root: Path) -> list[str]:
            case.copy(root)
            running = [project.start(root, case.command, name=f"log{number}") for number in range(processes)]
            bad = []
            for process, log in running:
                process.join(project.TIMEOUT)
                bad += _not_right_or_refused(f"{processes} x {case.command}", project.outcome(process, log))
            return bad + recover(case, root, f"{processes} x {case.command}")

        return job

    for (case, processes), _ in zip(product(cases * rounds, (2, 4)), range(rounds), strict=False):
        yield "several processes at once", race(case, processes)


def mixed_races(cases: list[Case], share: float) -> Iterator[tuple[str, Job]]:
    """Two different commands at once: right, or refused; all commands in turn then make what they should."""

    def race(case: Case, other: Case) -> Job:
        def job(root: Path) -> list[str]:
            case.copy(root)
            what = f"{case.command} and {other.command} at once"
            running = [project.start(root, each.command, name=f"log{each.command}") for each in (case, other)]
            bad = []
            for process, log in running:
                process.join(project.TIMEOUT)
                bad += _not_right_or_refused(what, project.outcome(process, log))
            for command in COMMANDS:
                done = project.run(root, command)
                if done.code != 0:
                    bad.append(f"{what}: then {command} ends with {done.code}: {done.output[-300:]}")
            found = project.state(root)
            return bad + [f"{what}: {name} is stale" for name in found if found[name] != cases[-1].new[name]]

        return job

    for case, other in combinations(cases, 2):
        if random.random() < share:
            yield "two different commands at once", race(case, other)


def _not_right_or_refused(what: str, done: project.Outcome) -> list[str]:
    if done.code == 0 or (done.code == 2 and len(_ONE_LINE.findall(done.output)) == 1):
        return []
    return [f"{what}: exit code {done.code}: {done.output[-400:]}"]


def changed(cases: list[Case]) -> Iterator[tuple[str, Job]]:
    """An input changes after everything was made: what comes out is what a fresh project makes of it."""
    last = cases[-1]

    def change(what: str, edit: Callable[[Path], None]) -> Job:
        def job(root: Path) -> list[str]:
            last.copy(root)
            edit(root)
            fresh = root.with_name(f"{root.name}-fresh")
            shutil.copytree(root, fresh, symlinks=True)
            shutil.rmtree(fresh / "data")
            bad = []
            for tree in (root, fresh):
                for command in COMMANDS:
                    outcome = project.run(tree, command)
                    if outcome.code != 0:
                        bad.append(f"{what}: {command} ends with {outcome.code}: {outcome.output[-300:]}")
            found, expected = project.state(root), project.state(fresh)
            bad += [f"{what}: {name} is stale" for name in found if found[name] != expected[name]]
            shutil.rmtree(fresh)
            return bad

        return job

    for what, edit in CHANGES.items():
        yield "a changed input", change(what, edit)


def run_all(jobs: Iterator[tuple[str, Job]], scratch: Path, budget: float) -> dict[str, Row]:
    """Run jobs in as many threads as there are cores, each on a copy of its own, until all are done or time is up."""
    rows: dict[str, Row] = {}
    numbers = count()
    end = time.monotonic() + budget

    def work(item: tuple[str, Job]) -> tuple[str, list[str] | None, float]:
        kind, job = item
        if time.monotonic() > end:
            return kind, None, 0.0
        root = scratch / f"case-{next(numbers):06}"  # no name begins with another one
        started = time.monotonic()
        try:
            bad = job(root)
        finally:
            for path in scratch.glob(f"{root.name}*"):
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink()
        return kind, bad, time.monotonic() - started

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for kind, bad, seconds in pool.map(work, jobs):
            row = rows.setdefault(kind, Row(kind))
            if bad is None:
                row.left += 1
                continue
            row.runs += 1
            row.seconds += seconds
            row.bad += bad
    return rows
