"""The loop over items and workers, with workers that die."""

from collections import deque
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

import pytest

from muki_pipeline.engines.loop import Job, Lost, run_jobs
from muki_pipeline.errors import MukiError

MISTAKE = MukiError("the user's mistake", where="w", fix="f")


@dataclass
class Named:
    """A job that is only a name."""

    name: str
    on_gpu = False

    def start(self, cores: int | None) -> Callable[[int], str]:
        return str

    def failed(self, item: int, what: str) -> MukiError:
        return MukiError(what, where=f"item {item} of {self.name}", fix="Give it more memory")


class Scripted:
    """Workers whose outcomes are written down: by item, what happens the first time, the second time, and so on."""

    def __init__(self, count: int, outcomes: dict[int, list[Exception]] | None = None) -> None:
        self.count, self.outcomes = count, outcomes or {}
        self.started: list[str] = []
        self.alive: set[int] = set()
        self.most = 0
        self.given: deque[tuple[int, int]] = deque()
        self.is_closed = False

    def start(self, job: Job[int, str]) -> int:
        assert isinstance(job, Named)
        self.started.append(job.name)
        self.alive.add(len(self.started))
        self.most = max(self.most, len(self.alive))
        return len(self.started)

    def give(self, worker: int, item: int) -> None:
        assert worker in self.alive
        self.given.append((worker, item))

    def wait(self, busy: Collection[int]) -> Iterable[tuple[int, object]]:
        worker, item = self.given.popleft()
        assert worker in busy
        waiting = self.outcomes.get(item)
        outcome = waiting.pop(0) if waiting else str(item)
        if isinstance(outcome, Lost):
            self.alive.remove(worker)
        return [(worker, outcome)]

    def stop(self, worker: int) -> None:
        self.alive.remove(worker)

    def close(self, alive: Collection[int]) -> None:
        assert alive == self.alive
        self.is_closed = True


def run(workers: Scripted, **items: list[int]) -> list[tuple[str, int, str]]:
    done: list[tuple[str, int, str]] = []
    try:
        run_jobs({name: Named(name) for name in items}, items, lambda: workers, lambda *each: done.append(each))
    finally:
        assert workers.is_closed
    return sorted(done)


def test_every_item_of_every_job_is_done_once() -> None:
    workers = Scripted(3)
    assert run(workers, a=[0, 1, 2, 3, 4], b=[0]) == [*(("a", n, str(n)) for n in range(5)), ("b", 0, "0")]
    assert workers.most == 3
    assert workers.started == ["a", "a", "a", "b"]  # a worker keeps its job


def test_no_worker_waits_while_another_job_has_items() -> None:
    workers = Scripted(2)
    run(workers, a=[0], b=list(range(10)))
    assert workers.started.count("b") == 2  # the one that had job a made place


def test_a_lost_worker_is_replaced_and_its_item_done() -> None:
    workers = Scripted(2, {1: [Lost("killed"), Lost("killed")]})
    assert len(run(workers, a=[0, 1, 2])) == 3
    assert len(workers.started) == 4


def test_an_item_that_kills_its_workers_is_named() -> None:
    with pytest.raises(MukiError, match=r"item 1 of a: its worker died 3 times \(killed\)\. Give it more memory"):
        run(Scripted(1, {1: [Lost("killed")] * 3}), a=[0, 1, 2])


def test_a_lost_machine_is_no_items_fault() -> None:
    assert len(run(Scripted(1, {1: [Lost("gone", with_machine=True)] * 9}), a=[0, 1, 2])) == 3


def test_an_error_stops_the_run_after_one_repeat() -> None:
    assert len(run(Scripted(1, {1: [ValueError("odd")]}), a=[0, 1])) == 2
    with pytest.raises(MukiError, match=r"item 1 of a: fails \(ValueError: odd\)"):
        run(Scripted(1, {1: [ValueError("odd")] * 2}), a=[0, 1])
    with pytest.raises(MukiError, match="the user's mistake"):
        run(Scripted(1, {1: [MISTAKE] * 2}), a=[0, 1])


def test_without_items_no_worker_is_made() -> None:
    def engine() -> Scripted:
        raise AssertionError("an engine that may take seconds to start")

    run_jobs({"a": Named("a")}, {"a": []}, engine, lambda *each: None)
