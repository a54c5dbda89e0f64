"""The engine of several machines: a task of a Ray cluster for each shard."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from muki_pipeline.engines.ray import RayCluster, cluster_gone, connect
from muki_pipeline.errors import MukiError, brief
from muki_pipeline.integration.engines.threads import Kept, Result, Told
from muki_pipeline.tables.shards import part_name

_AHEAD = 2
"""Tasks to a core: one that runs, and one that waits beside it."""


class RayTasks:
    """Tasks of a Ray cluster, each on one core. A shard whose worker or machine is lost is given to another.

    Machines see the tables at the same path, or in a bucket. Kept arrays stay in the memory of the machines that made
    them, or on their disks, and are made again where they are lost.

    Args:
        cluster: The cluster.
    """

    def __init__(self, cluster: RayCluster) -> None:
        self._cluster, self._ray = cluster, cluster.ray
        self._kept: dict[int, Any] = {}

    def run(self, work: Callable[[int], Result], shards: int, told: Told = lambda number: None) -> list[Result]:
        """See `Engine`."""
        call = self._ray.remote(num_cpus=1)(_call)
        work_there = self._ray.put(work)
        return self._all(lambda number: call.remote(work_there, number), shards, told)

    def run_and_keep(self, work: Callable[[int], tuple[Result, Kept]], shards: int, told: Told) -> list[Result]:
        """See `Engine`."""
        call = self._ray.remote(num_cpus=1, num_returns=2)(_call)
        work_there = self._ray.put(work)

        def submit(number: int) -> Any:
            result, self._kept[number] = call.remote(work_there, number)
            return result

        return self._all(submit, shards, told)

    def run_with_kept(self, work: Callable[[int, Kept], Result], shards: int, told: Told) -> list[Result]:
        """See `Engine`."""
        call = self._ray.remote(num_cpus=1)(_call)
        work_there = self._ray.put(work)
        return self._all(lambda number: call.remote(work_there, number, self._kept.pop(number)), shards, told)

    def _all(self, submit: Callable[[int], Any], shards: int, told: Told) -> list[Any]:
        """The results of all tasks, in the shards' order."""
        at_once = _AHEAD * max(self._cluster.resource("CPU"), 1)
        results: dict[int, Any] = {}
        running: dict[Any, int] = {}
        waiting = iter(range(shards))
        while len(results) < shards:
            while len(running) < at_once and (number := next(waiting, None)) is not None:
                running[submit(number)] = number
            [ready], _ = self._ray.wait(list(running), num_returns=1)
            number = running.pop(ready)
            results[number] = self._result(ready, number)
            told(number)
        return [results[number] for number in range(shards)]

    def _result(self, ready: Any, number: int) -> Any:
        """A finished task's result.

        Raises:
            MukiError: The work's own; its worker died again and again; the cluster is gone.
        """
        errors = self._ray.exceptions
        try:
            return self._ray.get(ready)
        except errors.RayTaskError as error:
            raise error.cause from None
        except (errors.WorkerCrashedError, errors.OutOfMemoryError, errors.ObjectLostError) as error:
            what = f"its worker died again and again ({brief(error)})"
            fix = "Give workers more memory, or lower prepare.shard_rows; then run the command again"
            raise MukiError(what, where=f"shard {part_name(number)}", fix=fix) from None
        except errors.RaySystemError as error:
            raise cluster_gone(error) from None


def _call(work: Callable[..., Any], *arguments: Any) -> Any:
    return work(*arguments)


@contextmanager
def ray_tasks(address: str | None) -> Iterator[RayTasks]:
    """The engine of a cluster.

    Args:
        address: The cluster's; see `connect`.

    Raises:
        MukiError: See `connect`.
    """
    cluster = connect(address)
    try:
        yield RayTasks(cluster)
    finally:
        cluster.close()
