"""Workers on this machine: this very process, or several."""

import os
from collections.abc import Iterable, Mapping
from itertools import count
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

import torch

from muki_pipeline.labelling.engines.dispatch import Failed, Labelled, Lost, Outcome
from muki_pipeline.labelling.features import load_or_compute_features
from muki_pipeline.labelling.labeller import Labeller, Throughput
from muki_pipeline.labelling.store import load_or_label_shard
from muki_pipeline.layout import Layout
from muki_pipeline.processes import process_context, serve_parent, start, usable_cores
from muki_pipeline.progress import SILENT, Task
from muki_pipeline.store.store import Shard


class ThisProcess:
    """One worker, this process. An error is raised at once: nothing would be different a second time.

    Args:
        layout: Where the tables lie.
        task: Told of texts as they go through the network.
    """

    count = 1

    def __init__(self, layout: Layout, task: Task = SILENT) -> None:
        self.layout, self.task = layout, task

    def start(self, labeller: Labeller) -> int:
        """See `Workers`."""
        self.labeller = labeller
        return 0

    def give(self, worker: int, shard: Shard) -> None:
        """See `Workers`."""
        self.shard = shard

    def wait(self) -> Iterable[tuple[int, Outcome]]:
        """See `Workers`."""
        return [(0, label_one(self.labeller, self.layout, self.shard, self.task))]

    def stop(self, worker: int) -> None:
        """See `Workers`."""

    def close(self) -> None:
        """See `Workers`."""


def label_one(labeller: Labeller, layout: Layout, shard: Shard, task: Task = SILENT) -> Labelled:
    """Label one shard, with features where the settings ask for them, and tell what it took."""
    labeller.throughput = Throughput()
    stored = load_or_label_shard(labeller, layout, shard, task)
    features = load_or_compute_features(labeller, layout, shard, task) if labeller.settings.features else None
    return Labelled(stored, labeller.throughput, features)


class Processes:
    """So many processes of this machine, which share its cores.

    Args:
        layout: Where the tables lie.
        workers: How many.
    """

    def __init__(self, layout: Layout, workers: int) -> None:
        self.layout, self.count = layout, workers
        self._numbers = count()
        self._processes: dict[int, tuple[BaseProcess, Connection]] = {}

    def start(self, labeller: Labeller) -> int:
        """See `Workers`."""
        context = process_context(__name__, on_gpu=labeller.device.type != "cpu")
        ours, theirs = context.Pipe()
        threads = max(usable_cores() // self.count, 1)
        served = (theirs, labeller, self.layout, threads, dict(os.environ))
        process = context.Process(target=_serve, args=served, daemon=True)
        start(process)
        theirs.close()
        worker = next(self._numbers)
        self._processes[worker] = process, ours
        return worker

    def give(self, worker: int, shard: Shard) -> None:
        """See `Workers`."""
        try:
            self._processes[worker][1].send(shard)
        except OSError:  # it has died: `wait` will notice
            return

    def wait(self) -> Iterable[tuple[int, Outcome]]:
        """See `Workers`."""
        by_connection = {connection: worker for worker, (_, connection) in self._processes.items()}
        for ready in wait(list(by_connection)):
            worker = next(number for connection, number in by_connection.items() if connection is ready)
            process, connection = self._processes[worker]
            try:
                yield worker, connection.recv()
            except (EOFError, OSError):
                process.join()
                del self._processes[worker]
                yield worker, Lost(f"exit code {process.exitcode}")

    def stop(self, worker: int) -> None:
        """See `Workers`."""
        process, connection = self._processes.pop(worker)
        connection.close()
        process.join()

    def close(self) -> None:
        """See `Workers`."""
        for process, connection in self._processes.values():
            process.terminate()
            connection.close()
        for process, _ in self._processes.values():
            process.join()
        self._processes.clear()


def _serve(
    connection: Connection, labeller: Labeller, layout: Layout, threads: int, environment: Mapping[str, str]
) -> None:
    """Label shards until the other end is closed."""
    serve_parent(environment)
    torch.set_num_threads(threads)
    while True:
        try:
            shard = connection.recv()
        except EOFError:
            return
        try:
            outcome: Outcome = label_one(labeller, layout, shard)
        except Exception as error:
            outcome = Failed(error)
        connection.send(outcome)
