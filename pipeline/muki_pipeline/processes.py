"""How this program starts processes of its own, and what they owe to the one that started them."""

import os
import signal
import sys
import threading
from collections.abc import Mapping
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess

Context = ForkServerContext | SpawnContext
_SAFE_PATH = "PYTHONSAFEPATH"


def usable_cores() -> int:
    """Cores that this process may use: a scheduler or a container often gives a program some of a machine's cores."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def process_context(module: str, *, on_gpu: bool = False) -> Context:
    """What makes processes that run functions of a module.

    Loading torch takes seconds and hundreds of megabytes. On Linux one server loads the module and the processes are
    forked from it: it has no threads that a fork would lose. Elsewhere the system's libraries may not survive a fork.
    Libraries may ask for a GPU as they are loaded, and a process forked after that cannot use it. There each process
    loads its own.

    Args:
        module: The module's full name.
        on_gpu: Whether the processes will use a GPU.
    """
    if on_gpu or sys.platform != "linux":
        return get_context("spawn")
    context = get_context("forkserver")
    context.set_forkserver_preload([module])
    return context


def start(process: BaseProcess) -> None:
    """Start a process that does not look for modules in the working folder, where a user may have an `inspect.py`."""
    before = os.environ.get(_SAFE_PATH)
    os.environ[_SAFE_PATH] = "1"  # read by the server that forks, and by each Python that is spawned
    try:
        process.start()
    finally:
        os.environ.pop(_SAFE_PATH)
        if before is not None:
            os.environ[_SAFE_PATH] = before


def serve_parent(environment: Mapping[str, str]) -> None:
    """Leave Ctrl-C to the parent, and end when it ends: work that nobody waits for would be in the next run's way.

    Args:
        environment: The parent's; a server's may be older.
    """
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process: the one that waits for us stops us
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
