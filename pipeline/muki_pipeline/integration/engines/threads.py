"""What runs the work of every shard, and the engine of one machine: a thread for each core."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from muki_pipeline.engines.processes import usable_cores
from muki_pipeline.tables import folders

Result = TypeVar("Result")
Kept = NDArray[np.float32]
"""What a phase hands to the next one, an array for each shard."""
Told = Callable[[int], None]
"""Is told the number of every shard that is done."""


class Run(Protocol):
    """Does some work for every shard."""

    def __call__(self, work: Callable[[int], Result], shards: int, told: Told = ...) -> list[Result]:
        """`work` of every shard's number, in order; the first error stops it."""


class Engine(Protocol):
    """Does the work of every shard somewhere. Arrays stay there between two phases; only results come back."""

    def run(self, work: Callable[[int], Result], shards: int, told: Told = ...) -> list[Result]:
        """See `Run`."""

    def run_and_keep(self, work: Callable[[int], tuple[Result, Kept]], shards: int, told: Told) -> list[Result]:
        """The same for work that also returns an array, which is kept."""

    def run_with_kept(self, work: Callable[[int, Kept], Result], shards: int, told: Told) -> list[Result]:
        """The same for work that is given each shard's kept array."""


def on_all_cores(work: Callable[[int], Result], shards: int, told: Told = lambda number: None) -> list[Result]:
    """`Run` in as many threads as there are cores."""

    def one(number: int) -> Result:
        result = work(number)
        told(number)
        return result

    pool = ThreadPoolExecutor(usable_cores())
    try:
        return list(pool.map(one, range(shards)))
    finally:
        pool.shutdown(cancel_futures=True)


class Threads:
    """Threads of this process. Arrays are kept in files, so that memory stays flat.

    Args:
        scratch: The folder of these files.
    """

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch

    def run(self, work: Callable[[int], Result], shards: int, told: Told = lambda number: None) -> list[Result]:
        """See `Engine`."""
        return on_all_cores(work, shards, told)

    def run_and_keep(self, work: Callable[[int], tuple[Result, Kept]], shards: int, told: Told) -> list[Result]:
        """See `Engine`."""

        def one(number: int) -> Result:
            result, kept = work(number)
            np.save(self._file(number), kept)
            return result

        return on_all_cores(one, shards, told)

    def run_with_kept(self, work: Callable[[int, Kept], Result], shards: int, told: Told) -> list[Result]:
        """See `Engine`."""
        return on_all_cores(lambda number: work(number, np.load(self._file(number))), shards, told)

    def _file(self, number: int) -> Path:
        return self.scratch / f"{number}.npy"


@contextmanager
def threads(scratch: Path) -> Iterator[Threads]:
    """The engine of one machine, whose files go when it ends."""
    with folders.scratch_folder(scratch) as folder:
        yield Threads(folder)
