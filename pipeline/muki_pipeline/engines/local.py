"""Workers in this process: threads, or itself. An error is raised at once: nothing would differ a second time."""

from collections.abc import Callable, Collection, Iterable
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

from muki_pipeline.engines.loop import Job
from muki_pipeline.engines.machine import usable_cores


@dataclass(eq=False)
class _Worker:
    work: Callable[[Any], Any]
    item: Future[Any] = field(default_factory=Future)


class Threads:
    """A thread for each core that this process may use, for work without state. For the methods see `Workers`."""

    def __init__(self) -> None:
        self.count = usable_cores()
        self._pool: Executor = ThreadPoolExecutor(self.count)

    def start(self, job: Job[Any, Any]) -> _Worker:
        """A place in the pool."""
        return _Worker(job.start(None))

    def give(self, worker: _Worker, item: Any) -> None:
        """Submit the item."""
        worker.item = self._pool.submit(worker.work, item)

    def wait(self, busy: Collection[_Worker]) -> Iterable[tuple[_Worker, Any]]:
        """Wait for one."""
        wait([worker.item for worker in busy], return_when=FIRST_COMPLETED)
        return [(worker, worker.item.result()) for worker in busy if worker.item.done()]

    def stop(self, worker: _Worker) -> None:
        """Nothing is held."""

    def close(self, alive: Collection[_Worker]) -> None:
        """End when the items that have begun are done."""
        self._pool.shutdown(cancel_futures=True)


class ThisProcess(Threads):
    """One worker, the thread that waits for it."""

    def __init__(self) -> None:
        self.count, self._pool = 1, _Inline()


class _Inline(Executor):
    def submit(self, work: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(work(*arguments, **options))
        return future
