"""Workers in processes of this machine; how the program starts any process, and what it owes to its parent."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess
from typing import Any

from muki_pipeline.engines.loop import Job, Lost
from muki_pipeline.engines.machine import usable_cores

Context = ForkServerContext | SpawnContext
_SAFE_PATH = "PYTHONSAFEPATH"


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


_Process = tuple[BaseProcess, Connection]


class Processes:
    """So many processes of this machine, which share its cores. For the methods see `Workers`.

    Args:
        workers: How many.
    """

    def __init__(self, workers: int) -> None:
        self.count = workers

    def start(self, job: Job[Any, Any]) -> _Process:
        """A new process."""
        context = process_context(type(job).__module__, on_gpu=job.on_gpu)
        ours, theirs = context.Pipe()
        cores = max(usable_cores() // self.count, 1)
        process = context.Process(target=_serve, args=(theirs, job, cores, dict(os.environ)), daemon=True)
        start(process)
        theirs.close()
        return process, ours

    def give(self, worker: _Process, item: Any) -> None:
        """Send the item."""
        with suppress(OSError):  # it has died: `wait` will notice
            worker[1].send(item)

    def wait(self, busy: Collection[_Process]) -> Iterable[tuple[_Process, Any]]:
        """Receive what is ready; a process that has died sends nothing."""
        ready = wait([connection for _, connection in busy])
        for process, connection in [worker for worker in busy if worker[1] in ready]:
            try:
                outcome = connection.recv()
            except (EOFError, OSError):
                process.join()
                outcome = Lost(f"exit code {process.exitcode}")
            yield (process, connection), outcome

    def stop(self, worker: _Process) -> None:
        """Let it end by itself."""
        process, connection = worker
        connection.close()
        process.join()

    def close(self, alive: Collection[_Process]) -> None:
        """Terminate them."""
        for process, _ in alive:
            process.terminate()
        for worker in alive:
            self.stop(worker)


def _serve(connection: Connection, job: Job[Any, Any], cores: int, environment: Mapping[str, str]) -> None:
    """Do items until the other end is closed."""
    serve_parent(environment)
    work: Callable[[Any], Any] | None = None
    while True:
        try:
            item = connection.recv()
        except EOFError:
            return
        try:
            work = work or job.start(cores)
            outcome = work(item)
        except Exception as error:
            outcome = error
        connection.send(outcome)
