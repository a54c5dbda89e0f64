"""The loop: shards that wait, workers that label them, and what happens when a worker is lost."""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from muki_pipeline.errors import MukiError, brief
from muki_pipeline.labelling.labeller import Labeller, Throughput
from muki_pipeline.store.store import Shard

MOST_CRASHES = 3
"""A shard whose worker dies this often, on a machine that lives on, is taken for the cause."""
_MOST_ERRORS = 2


@dataclass(frozen=True)
class Labelled:
    """A worker has finished its shard.

    Attributes:
        stored: The labels.
        throughput: What went through the network.
        features: What the head reads, None where the settings do not ask for it.
    """

    stored: Shard
    throughput: Throughput
    features: Shard | None = None


@dataclass(frozen=True)
class Failed:
    """The program raised an error in a worker."""

    error: Exception


@dataclass(frozen=True)
class Lost:
    """A worker is gone.

    Attributes:
        reason: Why, as far as the engine knows.
        with_machine: Whether its whole machine is gone, as when it is pre-empted: no shard is to blame.
    """

    reason: str
    with_machine: bool = False


Outcome = Labelled | Failed | Lost


class Workers(Protocol):
    """The workers of an engine. A worker is a number; it holds one teacher and labels one shard at a time."""

    count: int

    def start(self, labeller: Labeller) -> int:
        """A new worker with this teacher."""

    def give(self, worker: int, shard: Shard) -> None:
        """Let a worker label a shard."""

    def wait(self) -> Iterable[tuple[int, Outcome]]:
        """Wait until a worker is done with its shard; which, and how it went. A lost worker is gone already."""

    def stop(self, worker: int) -> None:
        """Let go of a worker that has no shard."""

    def close(self) -> None:
        """Stop all workers, in the middle of a shard too."""


def label_shards(
    labellers: Mapping[str, Labeller],
    shards: Mapping[str, Sequence[Shard]],
    workers: Workers,
    finished: Callable[[str, Shard, Labelled], None],
) -> None:
    """Label every teacher's shards.

    A lost worker's shard goes back to the others and a new worker takes its place. An error of the program is met with
    one more try, then the run stops with it. What is finished stays finished.

    Args:
        labellers: The teachers, by name.
        shards: The shards that each of them is to label.
        workers: An engine's; closed at the end.
        finished: Told of every labelled shard.

    Raises:
        MukiError: A shard's error, twice; or a shard whose worker died too often.
    """
    loop = _Loop(labellers, {name: deque(waiting) for name, waiting in shards.items()}, workers)
    try:
        while loop.is_busy():
            loop.fill()
            for worker, outcome in workers.wait():
                name, shard = loop.working.pop(worker)
                if isinstance(outcome, Labelled):
                    finished(name, shard, outcome)
                    loop.go_on(worker, name)
                else:
                    loop.try_again(worker, name, shard, outcome)
    finally:
        workers.close()


@dataclass
class _Loop:
    """What waits and who works.

    Attributes:
        labellers: The teachers.
        waiting: Their shards that nobody labels yet.
        workers: The engine's.
    """

    labellers: Mapping[str, Labeller]
    waiting: dict[str, deque[Shard]]
    workers: Workers

    def __post_init__(self) -> None:
        self.working: dict[int, tuple[str, Shard]] = {}
        self.crashes: Counter[tuple[str, str]] = Counter()
        self.errors: Counter[tuple[str, str]] = Counter()

    def is_busy(self) -> bool:
        return bool(self.working) or any(self.waiting.values())

    def fill(self) -> None:
        """Start workers while there are shards for them, for the teacher with most shards to a worker first."""
        while len(self.working) < self.workers.count and any(self.waiting.values()):
            busy = Counter(name for name, _ in self.working.values())
            name = max(self.waiting, key=lambda each: len(self.waiting[each]) / (1 + busy[each]))
            self.go_on(self.workers.start(self.labellers[name]), name)

    def go_on(self, worker: int, name: str) -> None:
        """Give a worker the next shard of its teacher; without one it makes place for another teacher's."""
        if not self.waiting[name]:
            self.workers.stop(worker)
            return
        shard = self.waiting[name].popleft()
        self.working[worker] = name, shard
        self.workers.give(worker, shard)

    def try_again(self, worker: int, name: str, shard: Shard, outcome: Failed | Lost) -> None:
        """Put a shard back, unless it is to blame."""
        which = f"shard {shard.file} with teacher {name}"
        if isinstance(outcome, Failed):
            self.errors[name, shard.file] += 1
            if self.errors[name, shard.file] == _MOST_ERRORS:
                if isinstance(outcome.error, MukiError):
                    raise outcome.error
                what = f"cannot be labelled ({type(outcome.error).__name__}: {brief(outcome.error)})"
                raise MukiError(what, where=which, fix="Look at its texts, then run the command again")
        elif not outcome.with_machine:
            self.crashes[name, shard.file] += 1
            if self.crashes[name, shard.file] == MOST_CRASHES:
                what = f"its worker died {MOST_CRASHES} times ({outcome.reason})"
                fix = "Give workers more memory, lower label.token_budget, or look at its texts"
                raise MukiError(what, where=which, fix=fix)
        self.waiting[name].appendleft(shard)
        if isinstance(outcome, Failed):
            self.workers.stop(worker)
