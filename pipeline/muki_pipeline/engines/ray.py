"""Workers on a Ray cluster: an actor has one job; items go in, results come out, and no table passes."""

import logging
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import count
from typing import Any

from muki_pipeline.engines.loop import Done, Failed, Job, Lost, Outcome
from muki_pipeline.errors import MukiError, brief

_GONE = ("its node has died", "its node was terminated")


class _Worker:
    """What an actor runs."""

    def __init__(self, job: Job[Any, Any], cores: int) -> None:
        self.job, self.cores = job, cores
        self.work: Callable[[Any], Any] | None = None

    def do(self, item: Any) -> Outcome:
        try:
            self.work = self.work or self.job.start(self.cores)
            return Done(self.work(item))
        except Exception as error:
            return Failed(error)


class RayWorkers:
    """Actors of a Ray cluster, each with some cores, or a GPU.

    Machines see the tables at the same path, or in a bucket, and the teachers at the same path.

    Args:
        address: The cluster's; see `connect`.
        workers: Most actors; by default as many as the cluster has place for.
        cores: Cores of an actor.
        gpus: Whether each actor takes a GPU, where the cluster has any.

    Raises:
        MukiError: See `connect`.
    """

    def __init__(
        self, address: str | None = None, workers: int | None = None, cores: int = 1, *, gpus: bool = False
    ) -> None:
        self._cluster = connect(address)
        self._ray, self._cores = self._cluster.ray, cores
        there = self._cluster.resource("GPU") if gpus else 0
        self._gpu = 1 if there else 0
        place = there if there else self._cluster.resource("CPU") // cores
        self.count = max(workers if workers is not None else place, 1)
        self._numbers = count()
        self._jobs: dict[int, Any] = {}
        self._actors: dict[int, Any] = {}
        self._calls: dict[Any, int] = {}

    def start(self, job: Job[Any, Any]) -> int:
        """See `Workers`."""
        if id(job) not in self._jobs:
            self._jobs[id(job)] = self._ray.put(job)
        remote = self._ray.remote(num_cpus=self._cores, num_gpus=self._gpu, max_restarts=0)(_Worker)
        worker = next(self._numbers)
        self._actors[worker] = remote.remote(self._jobs[id(job)], self._cores)
        return worker

    def give(self, worker: int, item: Any) -> None:
        """See `Workers`."""
        self._calls[self._actors[worker].do.remote(item)] = worker

    def wait(self) -> Iterable[tuple[int, Outcome]]:
        """See `Workers`."""
        ready, _ = self._ray.wait(list(self._calls), num_returns=1)
        for call in ready:
            worker = self._calls.pop(call)
            try:
                yield worker, self._ray.get(call)
            except self._ray.exceptions.RayActorError as error:
                self._actors.pop(worker)
                gone = getattr(error, "preempted", False) or any(sign in str(error) for sign in _GONE)
                yield worker, Lost(brief(error), with_machine=gone)
            except self._ray.exceptions.RayTaskError as error:
                yield worker, Failed(error)
            except self._ray.exceptions.RaySystemError as error:
                raise cluster_gone(error) from None

    def stop(self, worker: int) -> None:
        """See `Workers`."""
        self._ray.kill(self._actors.pop(worker))

    def close(self) -> None:
        """See `Workers`."""
        for worker in list(self._actors):
            self.stop(worker)
        self._calls.clear()
        self._cluster.close()


@dataclass(frozen=True)
class RayCluster:
    """A connection to a cluster.

    Attributes:
        ray: The package.
        owned: Whether this connection began here, and ends with `close`.
    """

    ray: Any
    owned: bool

    def resource(self, name: str) -> int:
        """How many `CPU` or `GPU` all machines have together."""
        return int(self.ray.cluster_resources().get(name, 0))

    def close(self) -> None:
        """Leave the cluster."""
        if self.owned:
            self.ray.shutdown()


def connect(address: str | None) -> RayCluster:
    """Reach a cluster.

    Args:
        address: The cluster's, `auto` for the one that this machine belongs to; None starts one on this machine.

    Raises:
        MukiError: Ray is not installed, or there is no such cluster.
    """
    try:
        import ray
    except ImportError:
        fix = "Install the extra: pip install 'muki-pipeline[ray]'"
        raise MukiError("needs the package ray", where="--engine ray", fix=fix) from None
    owned = not ray.is_initialized()
    if owned:
        try:
            _check_reachable(address)
            ray.init(address=address, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        except (OSError, ValueError, RuntimeError) as error:
            what = f"there is no Ray cluster ({brief(error)})"
            fix = "Start the cluster, or correct --address; if it asks for a token, set RAY_AUTH_MODE=token"
            raise MukiError(what, where=f"--address {address}", fix=fix) from None
    return RayCluster(ray, owned)


def cluster_gone(error: Exception) -> MukiError:
    """What a command says when Ray itself has failed."""
    fix = "Start the cluster again and run the command again: what is finished is kept"
    return MukiError(f"the Ray cluster is gone ({brief(error)})", where="--engine ray", fix=fix)


def _check_reachable(address: str | None) -> None:
    """Ray itself waits for minutes where nobody listens.

    Raises:
        OSError: Nobody does.
    """
    host, _, port = (address or "").rpartition(":")
    if port.isdigit():
        socket.create_connection((host, int(port)), timeout=10).close()
