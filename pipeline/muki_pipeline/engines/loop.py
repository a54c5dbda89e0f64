"""The loop of every engine: items that wait, workers that do them, and what happens when a worker is lost."""

from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from muki_pipeline.errors import MukiError, brief
from muki_pipeline.store.table import part_name

Item = TypeVar("Item")
Result = TypeVar("Result")
Input = TypeVar("Input", contravariant=True)
Output = TypeVar("Output", covariant=True)

MOST_CRASHES = 3
"""An item whose worker dies this often, on a machine that lives on, is taken for the cause."""
_MOST_ERRORS = 2


class Job(Protocol[Input, Output]):
    """Work of one kind on many items; other processes and machines receive it pickled."""

    @property
    def on_gpu(self) -> bool:
        """Whether it uses a GPU of this machine."""

    def start(self, cores: int | None) -> Callable[[Input], Output]:
        """Get ready in a worker that has so many cores, None for this process; returns what does one item."""

    def failed(self, item: Input, what: str) -> MukiError:
        """The error that says what is wrong with an item."""


class Lost(Exception):
    """A worker is gone.

    Args:
        reason: Why, as far as the engine knows.
        with_machine: Whether its whole machine is gone, as when it is pre-empted: no item is to blame.
    """

    def __init__(self, reason: str, with_machine: bool = False) -> None:
        super().__init__(reason)
        self.with_machine = with_machine


class Workers(Protocol):
    """The workers of an engine. Each has one job and does one item at a time."""

    @property
    def count(self) -> int:
        """Most workers at once."""

    def start(self, job: Job[Any, Any]) -> Any:
        """A new worker with this job; it can be a key of a dictionary."""

    def give(self, worker: Any, item: Any) -> None:
        """Let a worker do an item."""

    def wait(self, busy: Collection[Any]) -> Iterable[tuple[Any, Any]]:
        """Wait for some of these workers: each with its result, or with the error that ended its work."""

    def stop(self, worker: Any) -> None:
        """Let go of a worker that has no item."""

    def close(self, alive: Collection[Any]) -> None:
        """Stop these last workers, in the middle of an item too."""


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
        engine: Makes the workers, if there are any items.
        on_done: Receives every finished item, in this thread.

    Raises:
        MukiError: An item's error, twice; or an item whose worker died too often.
    """
    if not any(items.values()):
        return
    workers = engine()
    loop = _Loop(jobs, {name: deque(waiting) for name, waiting in items.items()}, workers)
    try:
        while loop.working or any(loop.waiting.values()):
            loop.fill()
            for worker, outcome in workers.wait(loop.working.keys()):
                name, item = loop.working.pop(worker)
                if isinstance(outcome, Exception):
                    loop.try_again(worker, name, item, outcome)
                else:
                    on_done(name, item, outcome)
                    loop.go_on(worker, name)
    finally:
        workers.close(loop.alive)


def run_each(
    work: Callable[[int], Result], shards: int, engine: Engine, on_done: Callable[[int, Result], None]
) -> None:
    """Do some work without state for every shard.

    Args:
        work: Of a shard's number; pickled for workers in other processes.
        shards: How many there are.
        engine: Makes the workers.
        on_done: Receives every finished shard's number and result, in this thread, in any order.

    Raises:
        MukiError: See `run_jobs`.
    """
    jobs = {"": _ShardWork(work)}
    run_jobs(jobs, {"": range(shards)}, engine, lambda name, number, result: on_done(number, result))


def run(work: Callable[[int], Result], shards: int, engine: Engine) -> list[Result]:
    """The results of `run_each`, in the shards' order."""
    results: dict[int, Result] = {}
    run_each(work, shards, engine, results.__setitem__)
    return [results[number] for number in range(shards)]


@dataclass(frozen=True)
class _ShardWork:
    """A function of a shard's number as a job."""

    work: Callable[[int], Any]
    on_gpu = False

    def start(self, cores: int | None) -> Callable[[int], Any]:
        return self.work

    def failed(self, item: int, what: str) -> MukiError:
        fix = "Give workers more memory, or lower prepare.shard_rows; then run the command again"
        return MukiError(what, where=f"shard {part_name(item)}", fix=fix)


class _Loop:
    """What waits and who works."""

    def __init__(self, jobs: Mapping[str, Job[Any, Any]], waiting: dict[str, deque[Any]], workers: Workers) -> None:
        self.jobs, self.waiting, self.workers = jobs, waiting, workers
        self.alive: set[Any] = set()
        self.working: dict[Any, tuple[str, Any]] = {}
        self.faults: Counter[tuple[str, Any, type]] = Counter()

    def fill(self) -> None:
        """Start workers while there are items for them, for the job with most items to a worker first."""
        while len(self.working) < self.workers.count and any(self.waiting.values()):
            busy = Counter(name for name, _ in self.working.values())
            name = max(self.waiting, key=lambda each: len(self.waiting[each]) / (1 + busy[each]))
            worker = self.workers.start(self.jobs[name])
            self.alive.add(worker)
            self.go_on(worker, name)

    def go_on(self, worker: Any, name: str) -> None:
        """Give a worker the next item of its job; without one it makes place for another job's."""
        if self.waiting[name]:
            self.working[worker] = name, self.waiting[name].popleft()
            self.workers.give(worker, self.working[worker][1])
        else:
            self.alive.remove(worker)
            self.workers.stop(worker)

    def try_again(self, worker: Any, name: str, item: Any, error: Exception) -> None:
        """Put an item back, unless it is to blame. A worker whose item failed is not used again."""
        self.alive.remove(worker)
        is_lost = isinstance(error, Lost)
        if not is_lost:
            self.workers.stop(worker)
        if not (isinstance(error, Lost) and error.with_machine):
            self.faults[name, item, Lost if is_lost else Exception] += 1
        if self.faults[name, item, Lost] == MOST_CRASHES:
            raise self.jobs[name].failed(item, f"its worker died {MOST_CRASHES} times ({error})")
        if self.faults[name, item, Exception] == _MOST_ERRORS:
            if isinstance(error, MukiError):
                raise error
            raise self.jobs[name].failed(item, f"fails ({type(error).__name__}: {brief(error)})")
        self.waiting[name].appendleft(item)
