"""A training in several processes, as torchrun starts them: each takes its part of a batch, the first one decides."""

import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

from muki_pipeline.errors import MukiError

Value = TypeVar("Value")
_BROKEN = ("Connection closed by peer", "Connection reset by peer", "NCCL", "gloo", "Broken pipe")
"""Errors of a process whose connection to another one broke."""
_LAUNCHED = "MUKI_PIPELINE_LAUNCHED"
"""In the environment of processes that `launch` started: the process that called it speaks for them."""
_PATIENCE = timedelta(days=1)
"""How long processes wait for the first one: it reads and tokenises the whole corpus."""


def world_size() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Whether this is the only process of a training, or the first one."""
    return os.environ.get("RANK", "0") == "0"


def is_launched() -> bool:
    """Whether `launch` has started this process."""
    return _LAUNCHED in os.environ


def first_decides(decide: Callable[[], Value]) -> Value:
    """Call a function in the first process, and return its result in all of them.

    Each process by itself might measure other times, or look at a folder before the first one has changed it.
    """
    if world_size() == 1:
        return decide()
    import torch  # a training that is finished needs neither
    from accelerate import PartialState
    from accelerate.utils import broadcast_object_list

    on_cpu = not torch.cuda.is_available()
    PartialState(cpu=on_cpu, backend="gloo" if on_cpu else None, timeout=_PATIENCE)
    result: Value = broadcast_object_list([decide() if is_first() else None])[0]
    return result


def launch(command: Sequence[str], processes: int) -> None:
    """Run a Python command in several processes of this machine, as `torchrun --standalone` does.

    Args:
        command: What follows `python`.
        processes: How many.

    Raises:
        MukiError: One of them died or reported an error; the others are stopped.
    """
    # Errors are reported below. Some of the launcher's loggers read the variable on import, the others have no level.
    os.environ.setdefault("LOGLEVEL", "CRITICAL")
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    settings = LaunchConfig(1, 1, processes, rdzv_backend="c10d", rdzv_endpoint="localhost:0", max_restarts=0)
    os.environ[_LAUNCHED] = "1"
    try:
        elastic_launch(settings, sys.executable)(*command)
    except ChildFailedError as error:
        number, failure = error.get_first_failure()
        what = f"process {number} of {processes} ended with exit code {failure.exitcode}"
        fix = "See its message above, if there is one; run the command again, and it continues from its last checkpoint"
        raise MukiError(what, where="train-student", fix=fix) from None
    finally:
        del os.environ[_LAUNCHED]


@contextmanager
def leaving_quietly() -> Iterator[None]:
    """Inside, a process works with others, and leaves them without a message of its own.

    Where it succeeds, it ends the connection: gloo's threads, still running, can abort a process that exits.
    Where the connection breaks, it exits at once: the process that died is reported by `launch`.
    """
    try:
        yield
    except RuntimeError as error:
        if world_size() > 1 and any(sign in str(error) for sign in _BROKEN):
            sys.exit(3)
        raise
    if world_size() > 1:  # after an error the others may still wait in a message, and so would the ending
        from torch import distributed

        if distributed.is_initialized():
            distributed.destroy_process_group()
