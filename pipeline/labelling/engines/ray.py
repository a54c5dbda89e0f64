"""Workers on a Ray cluster: an actor holds one teacher; shards' names go in, digests come out, and no table passes."""

import logging
import socket
from collections.abc import Iterable
from itertools import count
from typing import Any

from pipeline.errors import MukiError, brief
from pipeline.labelling.engines.dispatch import Failed, Lost, Outcome
from pipeline.labelling.engines.local import label_one
from pipeline.labelling.labeller import Labeller
from pipeline.layout import Layout
from pipeline.tables.shards import Shard

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


def _check_reachable(address: str | None) -> None:
    """Ray itself waits for minutes where nobody listens.

    Raises:
        OSError: Nobody does.
    """
    host, _, port = (address or "").rpartition(":")
    if port.isdigit():
        socket.create_connection((host, int(port)), timeout=10).close()


class RayWorkers:
    """Actors of a Ray cluster, each with a GPU or some cores.

    Machines see the tables at the same path, or in a bucket, and the teachers at the same path.

    Args:
        layout: Where the tables lie.
        address: The cluster's, `auto` for the one that this machine belongs to; None starts one on this machine.
        workers: Most actors; by default as many as the cluster has place for.
        cores: Cores of an actor.

    Raises:
        MukiError: Ray is not installed, or there is no such cluster.
    """

    def __init__(self, layout: Layout, address: str | None = None, workers: int | None = None, cores: int = 1) -> None:
        try:
            import ray
        except ImportError:
            fix = "Install the extra: pip install 'muki-pipeline[ray]'"
            raise MukiError("needs the package ray", where="--engine ray", fix=fix) from None
        self.ray, self.layout, self.cores = ray, layout, cores
        self._owns = not ray.is_initialized()
        if self._owns:
            try:
                _check_reachable(address)
                ray.init(address=address, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
            except (OSError, ValueError, RuntimeError) as error:
                fix = "Start the cluster, or correct --address"
                where = f"--address {address}"
                raise MukiError(f"there is no Ray cluster ({brief(error)})", where=where, fix=fix) from None
        # Ray leaves this function unannotated.
        resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        gpus = int(resources.get("GPU", 0))
        self._gpu = 1 if gpus else 0
        place = gpus if gpus else int(resources.get("CPU", 1)) // cores
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
                fix = "Start the cluster again and run the command again: finished shards are kept"
                raise MukiError(f"the Ray cluster is gone ({brief(error)})", where="--engine ray", fix=fix) from None

    def stop(self, worker: int) -> None:
        """See `Workers`."""
        self.ray.kill(self._actors.pop(worker))

    def close(self) -> None:
        """See `Workers`."""
        for worker in list(self._actors):
            self.stop(worker)
        self._calls.clear()
        if self._owns:
            self.ray.shutdown()
