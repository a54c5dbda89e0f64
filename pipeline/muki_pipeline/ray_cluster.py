"""A Ray cluster: how a command reaches it, and what there is to use."""

import logging
import socket
from dataclasses import dataclass
from typing import Any

from muki_pipeline.errors import MukiError, brief


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
