"""Threads of this process do the work of every shard."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

from muki_pipeline.processes import usable_cores

Result = TypeVar("Result")
Told = Callable[[int], None]
"""Is told the number of every shard that is done."""


class Run(Protocol):
    """Does some work for every shard."""

    def __call__(self, work: Callable[[int], Result], shards: int, told: Told = ...) -> list[Result]:
        """`work` of every shard's number, in order; the first error stops it."""


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
