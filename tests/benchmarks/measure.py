"""Side-by-side timing and peak memory of a process of its own."""

import multiprocessing
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

PROCESSES = 3


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
        what: What is measured.
        target: What it should be, None where nothing was set.
        measured: What it is, None where it could not be measured.
        at: Which of several such measurements: a length, a data set.
        at_most: Whether the target is a ceiling; else it is a floor.
        note: Why it could not be measured.
    """

    what: str
    target: float | None
    measured: float | None
    at: str = ""
    at_most: bool = False
    note: str = ""

    @property
    def verdict(self) -> str:
        """Whether the target is met."""
        if self.measured is None:
            return f"not measured: {self.note}"
        if self.target is None:
            return ""
        met = self.measured <= self.target if self.at_most else self.measured >= self.target
        return "met" if met else "missed"


def side_by_side(first: Callable[[], object], second: Callable[[], object], rounds: int) -> float:
    """Median time of `first` over median time of `second`; they take turns, so that both see the machine's moods."""
    one, other = seconds_of_each([first, second], rounds)
    return one / other


def seconds_of_each(works: Sequence[Callable[[], object]], rounds: int) -> list[float]:
    """The median time of each; they take turns."""
    seconds: list[list[float]] = [[] for _ in works]
    for number in range(rounds + 1):
        for work, taken in zip(works, seconds, strict=True):
            start = time.perf_counter()
            work()
            if number:  # the first round warms up
                taken.append(time.perf_counter() - start)
    return [statistics.median(taken) for taken in seconds]


@dataclass(frozen=True)
class Measured:
    """What `work` did in a process of its own.

    Attributes:
        result: What it returned.
        seconds: How long it took.
        peak: The process's peak memory in MiB.
    """

    result: Any
    seconds: float
    peak: float


def _peak() -> float:
    """Peak memory of this process in MiB; `getrusage` would count what its parent held when it was started."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024


def _measure(work: Callable[..., Any], arguments: tuple[Any, ...], pipe: Connection) -> None:
    start = time.perf_counter()
    result = work(*arguments)
    pipe.send(Measured(result, time.perf_counter() - start, _peak()))


def in_a_process(work: Callable[..., Any], *arguments: Any) -> Measured:
    """Run `work` in a fresh process."""
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe()
    process = context.Process(target=_measure, args=(work, arguments, theirs))
    process.start()
    theirs.close()
    found: Measured = mine.recv()
    process.join()
    return found


def over_processes(work: Callable[..., list[float]], *arguments: Any) -> list[float]:
    """The median of each of `work`'s figures over fresh processes.

    Where a process's memory comes to lie makes it some percent faster or slower for as long as it lives.
    """
    runs = [in_a_process(work, *arguments).result for _ in range(PROCESSES)]
    return [statistics.median(figures) for figures in zip(*runs, strict=True)]
