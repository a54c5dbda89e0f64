"""Stage `train-student`: golden supervision -> the student."""

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from muki_pipeline.errors import MukiError
from muki_pipeline.progress import SILENT, Progress
from muki_pipeline.tables import files, folders
from muki_pipeline.training.student.train import train_student
from muki_stages.options import PARAMS, ParamsFile
from muki_stages.project import open_project
from muki_stages.terminal import progress, quiet_libraries, say

_BROKEN = ("Connection closed by peer", "Connection reset by peer", "NCCL", "gloo", "Broken pipe")
"""What the others say."""


def main(
    params_file: ParamsFile = PARAMS,
    processes: Annotated[int, typer.Option("--processes", min=1, help="Processes, one for each GPU.")] = 1,
) -> dict[str, Any]:
    """Train the student from golden supervision alone. Continues from its last checkpoint."""
    quiet_libraries()
    params, layout = open_project(params_file)
    if processes > 1:
        folders.restore(layout.student, layout.kept_student)
        _launch(params_file, processes)
    is_first = os.environ.get("RANK", "0") == "0"
    with ExitStack() as held:
        bars: Progress = SILENT
        if is_first:
            held.enter_context(files.only_one(layout.work / "student.lock", "training the student"))
            bars = held.enter_context(progress())
        if "RANK" not in os.environ:
            folders.restore(layout.student, layout.kept_student)
        with _leaving_quietly_after_another():
            losses = train_student(
                params.student, layout.golden, layout.student, layout.work / "student", layout.root, bars
            )
        if is_first:
            folders.keep(layout.student, layout.kept_student)
    if is_first:
        say(", ".join([f"student: {layout.student}", *(f"{name} {value:.4f}" for name, value in losses.items())]))
    return {"folder": str(layout.student), **losses}


@contextmanager
def _leaving_quietly_after_another() -> Iterator[None]:
    """When a process of a training dies, the connections of the others break: only the one that died is reported."""
    try:
        yield
    except RuntimeError as error:
        if int(os.environ.get("WORLD_SIZE", "1")) > 1 and any(sign in str(error) for sign in _BROKEN):
            sys.exit(3)
        raise


def _launch(params_file: Path, processes: int) -> None:
    """Train in several processes of this machine, as `torchrun --standalone` does. They leave the student behind.

    Raises:
        MukiError: One of them died or reported an error; the others are stopped.
    """
    os.environ.setdefault("LOGLEVEL", "CRITICAL")  # its loggers read this as they are made; what it has to say we say
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    settings = LaunchConfig(1, 1, processes, rdzv_backend="c10d", rdzv_endpoint="localhost:0", max_restarts=0)
    command = ["-P", "-m", "muki_stages.cli", "train-student", "--params", str(params_file)]
    try:
        elastic_launch(settings, sys.executable)(*command)
    except ChildFailedError as error:
        number, failure = error.get_first_failure()
        what = f"process {number} of {processes} ended with exit code {failure.exitcode}"
        fix = "See its message above, if there is one; run the command again, and it continues from its last checkpoint"
        raise MukiError(what, where="train-student", fix=fix) from None
