"""Workers on a Ray cluster: an actor holds one teacher; shards' names go in, digests come out, and no table passes."""

from collections.abc import Iterable
from itertools import count
from typing import Any

from muki_pipeline.errors import brief
from muki_pipeline.labelling.engines.dispatch import Failed, Lost, Outcome
from muki_pipeline.labelling.engines.local import label_one
from muki_pipeline.labelling.labeller import Labeller
from muki_pipeline.layout import Layout
from muki_pipeline.ray_cluster import cluster_gone, connect
from muki_pipeline.store.store import Shard

_GONE = ("its node has died", "its node was terminated")


class _Worker:
    """What an actor runs."""

    def __init__(self, labeller: Labeller, layout: Layout, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self.labeller, self.layout = labeller, layout

    def label(self, shard: Shard) -> Outcome:
        try:
            return label_one(self.labeller, self.layout, shard)
        except Exception as error:
            return Failed(error)


class RayWorkers:
    """Actors of a Ray cluster, each with a GPU or some cores.

    Machines see the tables at the same path, or in a bucket, and the teachers at the same path.

    Args:
        layout: Where the tables lie.
        address: The cluster's; see `connect`.
        workers: Most actors; by default as many as the cluster has place for.
        cores: Cores of an actor.

    Raises:
        MukiError: See `connect`.
    """

    def __init__(self, layout: Layout, address: str | None = None, workers: int | None = None, cores: int = 1) -> None:
        self._cluster = connect(address)
        self.ray, self.layout, self.cores = self._cluster.ray, layout, cores
        gpus = self._cluster.resource("GPU")
        self._gpu = 1 if gpus else 0
        place = gpus if gpus else self._cluster.resource("CPU") // cores
        self.count = max(workers if workers is not None else place, 1)
        self._numbers = count()
        self._actors: dict[int, Any] = {}
        self._calls: dict[Any, int] = {}

    def start(self, labeller: Labeller) -> int:
        """See `Workers`."""
        remote = self.ray.remote(num_cpus=self.cores, num_gpus=self._gpu, max_restarts=0)(_Worker)
        worker = next(self._numbers)
        self._actors[worker] = remote.remote(labeller, self.layout, self.cores)
        return worker

    def give(self, worker: int, shard: Shard) -> None:
        """See `Workers`."""
        self._calls[self._actors[worker].label.remote(shard)] = worker

    def wait(self) -> Iterable[tuple[int, Outcome]]:
        """See `Workers`."""
        ready, _ = self.ray.wait(list(self._calls), num_returns=1)
        for call in ready:
            worker = self._calls.pop(call)
            try:
                yield worker, self.ray.get(call)
            except self.ray.exceptions.RayActorError as error:
                self._actors.pop(worker)
                gone = getattr(error, "preempted", False) or any(sign in str(error) for sign in _GONE)
                yield worker, Lost(brief(error), with_machine=gone)
            except self.ray.exceptions.RayTaskError as error:
                yield worker, Failed(error)
            except self.ray.exceptions.RaySystemError as error:
                raise cluster_gone(error) from None

    def stop(self, worker: int) -> None:
        """See `Workers`."""
        self.ray.kill(self._actors.pop(worker))

    def close(self) -> None:
        """See `Workers`."""
        for worker in list(self._actors):
            self.stop(worker)
        self._calls.clear()
        self._cluster.close()
