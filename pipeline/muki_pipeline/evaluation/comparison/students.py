"""The students of a comparison: several are trained at once, each in a process of its own."""

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from muki_pipeline.config import Params, StudentSettings
from muki_pipeline.engines.machine import usable_cores, usable_memory
from muki_pipeline.engines.processes import process_context, serve_parent, start
from muki_pipeline.errors import MukiError
from muki_pipeline.evaluation.predict import open_student, predict_student
from muki_pipeline.models.devices import choose_device
from muki_pipeline.progress import Progress, Task
from muki_pipeline.store import files
from muki_pipeline.store.columns import fixed_size_lists, matrix
from muki_pipeline.store.store import metadata_of
from muki_pipeline.store.table import read_table_file, write_table_file
from muki_pipeline.training.base_files import base_bytes
from muki_pipeline.training.student.train import StudentTraining


@dataclass(frozen=True)
class StudentJob:
    """A student that a comparison needs.

    Attributes:
        rule: What its golden table was made by.
        settings: The student's training.
        params: All settings.
        golden: Its golden table.
        labels: The union of labels.
        texts: The test texts.
        folder: Where the student is saved until its predictions are: a kill between the two costs no training.
        checkpoints: Folder under which checkpoints are stored.
        root: What a relative model path is relative to.
        predictions: The file of its test predictions, which stays.
    """

    rule: str
    settings: StudentSettings
    params: Params
    golden: Path
    labels: list[str]
    texts: list[str]
    folder: Path
    checkpoints: Path
    root: Path
    predictions: Path

    @property
    def name(self) -> str:
        """What progress calls it."""
        return f"student of {self.rule}, seed {self.settings.seed}"

    def is_done(self) -> bool:
        """Whether its predictions are stored."""
        return files.exists(self.predictions)

    def run(self, progress: Progress) -> None:
        """Train the student and store its predictions of the test texts, if they are not there."""
        if self.is_done():
            return
        start = time.perf_counter()
        training = StudentTraining(self.settings, self.golden, self.folder, self.checkpoints, self.root, self.name)
        is_resumed = training.is_begun() or files.exists(self.folder)
        training.run(progress)
        metadata = {"seconds": None if is_resumed else time.perf_counter() - start}
        probs = predict_student(open_student(self.folder, self.labels), self.texts, self.params, progress)
        write_table_file(self.predictions, pa.table({"probs": fixed_size_lists(probs.astype(np.float32))}), metadata)
        files.remove([self.folder])

    def result(self) -> tuple[NDArray[np.float32], float | None]:
        """Its probabilities for the test texts, `[rows, union]`, and the seconds that its training took.

        Nobody knows these where a run was killed and another one went on.
        """
        table = read_table_file(self.predictions, ["probs"], "Remove it and run muki-pipeline compare again")
        return matrix(table["probs"]), metadata_of(table)["seconds"]


class StudentProcesses:
    """Trains the students of a comparison, as many at once as the machine has room for."""

    def __init__(self) -> None:
        self._idle: list[tuple[Connection, BaseProcess]] = []
        self._busy: dict[Connection, tuple[StudentJob, BaseProcess]] = {}

    def __enter__(self) -> Self:
        """Processes start when there is work for them."""
        return self

    def __exit__(self, *error: object) -> None:
        """End all of them, in the middle of a training too."""
        for connection, _ in self._idle:
            connection.close()  # it ends by itself, and gives back what its libraries hold
        for _, process in self._busy.values():
            process.terminate()
        for _, process in (*self._idle, *self._busy.values()):
            process.join()

    def run(self, jobs: Iterable[StudentJob], count: int, progress: Progress) -> Iterator[StudentJob]:
        """Train the students whose predictions are not stored yet, and give back each that is finished.

        The students are those of a training one after the other with the same number of threads. Another number of
        threads changes the rounding.

        Args:
            jobs: The students. One is asked for only when there is a process for it.
            count: How many there are, finished ones too: so a rerun gives each as many threads as the first run did.
            progress: Receives the training's steps.

        Raises:
            MukiError: A student's error; or its process died. A rerun continues from the others' last checkpoints.
        """
        tasks: dict[tuple[Connection, int], Task] = {}
        for job in jobs:
            at_once = 1 if job.is_done() else min(count, _room(job))
            if at_once == 1:
                job.run(progress)
                yield job
                continue
            self._begin(job, max(usable_cores() // at_once, 1))
            while len(self._busy) >= at_once:
                yield from self._finished(tasks, progress)
        while self._busy:
            yield from self._finished(tasks, progress)

    def _begin(self, job: StudentJob, threads: int) -> None:
        connection, process = self._idle.pop() if self._idle else self._start()
        self._busy[connection] = job, process
        connection.send((job, threads))

    def _finished(self, tasks: dict[tuple[Connection, int], Task], progress: Progress) -> Iterator[StudentJob]:
        """Wait for a message of any process; the students that are finished by it."""
        for ready in wait(list(self._busy)):
            assert isinstance(ready, Connection)
            if _hear(ready, progress, tasks, self._busy[ready][0].name):
                job, process = self._busy.pop(ready)
                self._idle.append((ready, process))
                yield job

    def _start(self) -> tuple[Connection, BaseProcess]:
        context = process_context(__name__)
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, dict(os.environ)), daemon=True)
        start(process)
        theirs.close()
        return ours, process


def _room(job: StudentJob) -> int:
    """How many students this machine trains at once: one on a GPU, else as many as cores and half the memory allow."""
    if choose_device("auto").type != "cpu":
        return 1
    # Weights, gradients, two moments and a copy to save; the libraries, and the activations of a batch.
    student = 5 * base_bytes(job.settings, job.root) + 2**30
    return max(min(usable_cores(), usable_memory() // 2 // student), 1)


def _hear(connection: Connection, progress: Progress, tasks: dict[tuple[Connection, int], Task], name: str) -> bool:
    """Take one message of a student's process; true when it has finished."""
    try:
        message = connection.recv()
    except (EOFError, OSError):
        fix = "It may have run out of memory: close other programs, or lower student.batch_size, then run it again"
        raise MukiError("the process that trains it died", where=name, fix=fix) from None
    match message:
        case _Begun(task, what, total, unit):
            tasks[connection, task] = progress.begin(what, total, unit)
        case _Advanced(task, amount, note):
            tasks[connection, task].advance(amount, note)
        case _Expected(task, seconds):
            tasks[connection, task].expect(seconds)
        case Exception():
            raise message
    return message is None


@dataclass(frozen=True)
class _Begun:
    """A process has begun a piece of work; see `Progress.begin`."""

    task: int
    name: str
    total: int
    unit: str


@dataclass(frozen=True)
class _Advanced:
    """A process has done more of a piece of work; see `Task.advance`."""

    task: int
    amount: int
    note: str


@dataclass(frozen=True)
class _Expected:
    """A process knows how long a piece of work takes; see `Task.expect`."""

    task: int
    seconds: float


class _SentTask:
    """A `Task` that another process shows."""

    def __init__(self, connection: Connection, number: int) -> None:
        self.connection, self.number = connection, number

    def advance(self, amount: int, note: str = "") -> None:
        self.connection.send(_Advanced(self.number, amount, note))

    def expect(self, seconds: float) -> None:
        self.connection.send(_Expected(self.number, seconds))


class _SentProgress:
    """A `Progress` that another process shows."""

    def __init__(self, connection: Connection) -> None:
        self.connection, self.tasks = connection, 0

    def begin(self, name: str, total: int, unit: str) -> Task:
        self.tasks += 1
        self.connection.send(_Begun(self.tasks, name, total, unit))
        return _SentTask(self.connection, self.tasks)


def _serve(connection: Connection, environment: Mapping[str, str]) -> None:
    """Train students in this process, and tell the other end when each is done or why it is not."""
    serve_parent(environment)
    while True:
        try:
            job, threads = connection.recv()
        except EOFError:  # there is no more work
            return
        torch.set_num_threads(threads)
        try:
            job.run(_SentProgress(connection))
        except Exception as error:
            connection.send(error)
        else:
            connection.send(None)
