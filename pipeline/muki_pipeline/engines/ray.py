"""Workers on a Ray cluster: an actor has one job; items go in, results come out, and no table passes."""

import logging
import os
import socket
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

from muki_pipeline.engines.loop import Job, Lost
from muki_pipeline.errors import MukiError, brief

_GONE = ("its node has died", "its node was terminated")


class _Worker:
    """What an actor runs."""

    def __init__(self, job: Job[Any, Any], cores: int) -> None:
        self.job, self.cores = job, cores
        self.work: Callable[[Any], Any] | None = None

    def do(self, item: Any) -> Any:
        try:
            self.work = self.work or self.job.start(self.cores)
            return self.work(item)
        except Exception as error:
            return error


class RayWorkers:
    """Actors of a Ray cluster, each with some cores, or a GPU. For the methods see `Workers`.

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
        self._ray = self._cluster.ray
        there = self._cluster.resource("GPU") if gpus else 0
        self.count = max(workers or there or self._cluster.resource("CPU") // cores, 1)
        self._cores = cores
        self._actor = self._ray.remote(num_cpus=cores, num_gpus=1 if there else 0, max_restarts=0)(_Worker)
        self._jobs: dict[int, Any] = {}
        self._calls: dict[Any, Any] = {}

    def start(self, job: Job[Any, Any]) -> Any:
        """A new actor; the job travels once to each machine."""
        if id(job) not in self._jobs:
            self._jobs[id(job)] = self._ray.put(job)
        return self._actor.remote(self._jobs[id(job)], self._cores)

    def give(self, worker: Any, item: Any) -> None:
        """Call the actor."""
        self._calls[worker] = worker.do.remote(item)

    def wait(self, busy: Collection[Any]) -> Iterable[tuple[Any, Any]]:
        """Wait for one.

        Raises:
            MukiError: The cluster is gone.
        """
        [ready], _ = self._ray.wait([self._calls[worker] for worker in busy], num_returns=1)
        worker = next(worker for worker in busy if self._calls[worker] == ready)
        errors = self._ray.exceptions
        try:
            outcome = self._ray.get(ready)
        except errors.RayActorError as error:
            gone = getattr(error, "preempted", False) or any(sign in str(error) for sign in _GONE)
            outcome = Lost(brief(error), with_machine=gone)
        except errors.RayTaskError as error:
            outcome = error
        except errors.RaySystemError as error:
            raise cluster_gone(error) from None
        return [(worker, outcome)]

    def stop(self, worker: Any) -> None:
        """End the actor."""
        self._ray.kill(worker)

    def close(self, alive: Collection[Any]) -> None:
        """End them, and leave the cluster."""
        for worker in alive:
            self.stop(worker)
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
        address: The cluster's, `auto` for the one that this machine belongs to; by default that of `RAY_ADDRESS`,
            which Ray sets for its jobs, else a cluster is started here and ends with the command. Ray's own default
            joins whatever cluster it finds on the machine, somebody else's that is about to stop among them.

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
        address = address or os.environ.get("RAY_ADDRESS") or "local"
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
