"""The loop of every engine: items that wait, workers that do them, and what happens when a worker is lost."""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from muki_pipeline.errors import MukiError, brief
from muki_pipeline.store.table import part_name

Item = TypeVar("Item")
Input = TypeVar("Input", contravariant=True)
Result = TypeVar("Result")
Output = TypeVar("Output", covariant=True)

MOST_CRASHES = 3
"""An item whose worker dies this often, on a machine that lives on, is taken for the cause."""
_MOST_ERRORS = 2


class Job(Protocol[Input, Output]):
    """Work of one kind on many items; workers in other processes and on other machines receive it pickled."""

    @property
    def on_gpu(self) -> bool:
        """Whether it uses a GPU of this machine."""

    @property
    def fix(self) -> str:
        """What to do about an item that ends its workers, as an imperative."""

    def start(self, cores: int | None) -> Callable[[Input], Output]:
        """Get ready in a worker.

        Args:
            cores: How many the worker may use, None for a worker in this process.

        Returns:
            What does one item.
        """

    def where(self, item: Input) -> str:
        """The name of an item, for errors."""


@dataclass(frozen=True)
class Done:
    """A worker has finished its item."""

    result: Any


@dataclass(frozen=True)
class Failed:
    """The program raised an error in a worker."""

    error: Exception


@dataclass(frozen=True)
class Lost:
    """A worker is gone.

    Attributes:
        reason: Why, as far as the engine knows.
        with_machine: Whether its whole machine is gone, as when it is pre-empted: no item is to blame.
    """

    reason: str
    with_machine: bool = False


Outcome = Done | Failed | Lost


class Workers(Protocol):
    """The workers of an engine. A worker is a number; it has one job and does one item at a time."""

    @property
    def count(self) -> int:
        """Most workers at once."""

    def start(self, job: Job[Any, Any]) -> int:
        """A new worker with this job."""

    def give(self, worker: int, item: Any) -> None:
        """Let a worker do an item."""

    def wait(self) -> Iterable[tuple[int, Outcome]]:
        """Wait until a worker is done with its item; which, and how it went. A lost worker is gone already."""

    def stop(self, worker: int) -> None:
        """Let go of a worker that has no item."""

    def close(self) -> None:
        """Stop all workers, in the middle of an item too."""


Engine = Callable[[], Workers]
"""Makes its workers: `Threads`, or say `partial(RayWorkers, address)`."""


def run_jobs(
    jobs: Mapping[str, Job[Item, Result]],
    items: Mapping[str, Sequence[Item]],
    engine: Engine,
    on_done: Callable[[str, Item, Result], None],
) -> None:
    """Do every job's items.

    A lost worker's item goes back to the others and a new worker takes its place. An error of the program is met with
    one more try, then the run stops with it. What is finished stays finished.

    Args:
        jobs: The jobs, by name.
        items: What each of them is to do.
        engine: Makes the workers; they are closed at the end.
        on_done: Receives every finished item, in this thread.

    Raises:
        MukiError: An item's error, twice; or an item whose worker died too often.
    """
    if not any(items.values()):
        return
    workers = engine()
    loop = _Loop(jobs, {name: deque(waiting) for name, waiting in items.items()}, workers)
    try:
        while loop.is_busy():
            loop.fill()
            for worker, outcome in workers.wait():
                name, item = loop.working.pop(worker)
                if isinstance(outcome, Done):
                    on_done(name, item, outcome.result)
                    loop.go_on(worker, name)
                else:
                    loop.try_again(worker, name, item, outcome)
    finally:
        workers.close()


@dataclass(frozen=True)
class _ShardWork:
    """A function of a shard's number as a job."""

    work: Callable[[int], Any]
    on_gpu = False
    fix = "Give workers more memory, or lower prepare.shard_rows; then run the command again"

    def start(self, cores: int | None) -> Callable[[int], Any]:
        return self.work

    def where(self, item: int) -> str:
        return f"shard {part_name(item)}"


def run(
    work: Callable[[int], Result], shards: int, engine: Engine, on_done: Callable[[int], None] = lambda number: None
) -> list[Result]:
    """Do some work without state for every shard.

    Args:
        work: Of a shard's number; pickled for workers in other processes.
        shards: How many there are.
        engine: Makes the workers.
        on_done: Receives the number of every finished shard, in this thread.

    Returns:
        The results, in the shards' order.

    Raises:
        MukiError: See `run_jobs`.
    """
    results: dict[int, Result] = {}

    def take(name: str, number: int, result: Result) -> None:
        results[number] = result
        on_done(number)

    run_jobs({"": _ShardWork(work)}, {"": range(shards)}, engine, take)
    return [results[number] for number in range(shards)]


class _Loop:
    """What waits and who works.

    Args:
        jobs: The jobs, by name.
        waiting: Their items that nobody does yet.
        workers: The engine's.
    """

    def __init__(self, jobs: Mapping[str, Job[Any, Any]], waiting: dict[str, deque[Any]], workers: Workers) -> None:
        self.jobs, self.waiting, self.workers = jobs, waiting, workers
        self.working: dict[int, tuple[str, Any]] = {}
        self.crashes: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()

    def is_busy(self) -> bool:
        return bool(self.working) or any(self.waiting.values())

    def fill(self) -> None:
        """Start workers while there are items for them, for the job with most items to a worker first."""
        while len(self.working) < self.workers.count and any(self.waiting.values()):
            busy = Counter(name for name, _ in self.working.values())
            name = max(self.waiting, key=lambda each: len(self.waiting[each]) / (1 + busy[each]))
            self.go_on(self.workers.start(self.jobs[name]), name)

    def go_on(self, worker: int, name: str) -> None:
        """Give a worker the next item of its job; without one it makes place for another job's."""
        if not self.waiting[name]:
            self.workers.stop(worker)
            return
        item = self.waiting[name].popleft()
        self.working[worker] = name, item
        self.workers.give(worker, item)

    def try_again(self, worker: int, name: str, item: Any, outcome: Failed | Lost) -> None:
        """Put an item back, unless it is to blame."""
        where = self.jobs[name].where(item)
        if isinstance(outcome, Failed):
            self.errors[where] += 1
            if self.errors[where] == _MOST_ERRORS:
                if isinstance(outcome.error, MukiError):
                    raise outcome.error
                what = f"fails ({type(outcome.error).__name__}: {brief(outcome.error)})"
                raise MukiError(what, where=where, fix="Look at its texts, then run the command again")
            self.workers.stop(worker)
        elif not outcome.with_machine:
            self.crashes[where] += 1
            if self.crashes[where] == MOST_CRASHES:
                what = f"its worker died {MOST_CRASHES} times ({outcome.reason})"
                raise MukiError(what, where=where, fix=self.jobs[name].fix)
        self.waiting[name].appendleft(item)
