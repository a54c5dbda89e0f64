"""Workers in this process: itself, or threads. An error is raised at once: nothing would differ a second time."""

from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import count
from typing import Any

from muki_pipeline.engines.loop import Done, Job, Outcome
from muki_pipeline.engines.processes import usable_cores


class ThisProcess:
    """One worker, this very thread."""

    count = 1

    def start(self, job: Job[Any, Any]) -> int:
        """See `Workers`."""
        self._work = job.start(None)
        return 0

    def give(self, worker: int, item: Any) -> None:
        """See `Workers`."""
        self._item = item

    def wait(self) -> Iterable[tuple[int, Outcome]]:
        """See `Workers`."""
        return [(0, Done(self._work(self._item)))]

    def stop(self, worker: int) -> None:
        """See `Workers`."""

    def close(self) -> None:
        """See `Workers`."""


class Threads:
    """A thread for each core that this process may use; for work without state, which they share."""

    def __init__(self) -> None:
        self.count = usable_cores()
        self._pool = ThreadPoolExecutor(self.count)
        self._numbers = count()
        self._work: dict[int, Callable[[Any], Any]] = {}
        self._running: dict[Future[Any], int] = {}

    def start(self, job: Job[Any, Any]) -> int:
        """See `Workers`."""
        worker = next(self._numbers)
        self._work[worker] = job.start(None)
        return worker

    def give(self, worker: int, item: Any) -> None:
        """See `Workers`."""
        self._running[self._pool.submit(self._work[worker], item)] = worker

    def wait(self) -> Iterable[tuple[int, Outcome]]:
        """See `Workers`."""
        done, _ = wait(self._running, return_when=FIRST_COMPLETED)
        return [(self._running.pop(future), Done(future.result())) for future in done]

    def stop(self, worker: int) -> None:
        """See `Workers`."""
        del self._work[worker]

    def close(self) -> None:
        """See `Workers`."""
        self._pool.shutdown(cancel_futures=True)
