"""A training in several processes, as torchrun starts them: each takes its part of a batch, the first one decides."""

import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

from muki_pipeline.errors import MukiError, brief

Value = TypeVar("Value")
_LOST = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "remote process exited", "ncclRemote")
"""What gloo and NCCL say in a process when another one has died."""
_TOGETHER = ("gloo", "NCCL")
"""What is named in their other errors."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
"""Those that torch's launcher handles in its own way."""
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


def check_batch(batch_size: int, count: int) -> None:
    """Make sure that so many processes can share a batch.

    Raises:
        MukiError: They cannot share it evenly.
    """
    if batch_size % count:
        what = f"is {batch_size}, which {count} processes cannot share evenly"
        raise MukiError(what, where="student.batch_size", fix="Set it to a multiple of the number of processes")


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
        MukiError: There are fewer GPUs; one of the processes died or reported an error, and the others are stopped.
        KeyboardInterrupt: It was interrupted; so are they.
    """
    # Errors are reported below. Some of the launcher's loggers read the variable on import, the others have no level.
    os.environ.setdefault("LOGLEVEL", "CRITICAL")
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    import torch

    if torch.cuda.is_available() and processes > (gpus := torch.cuda.device_count()):
        what = "there is only 1 GPU" if gpus == 1 else f"there are only {gpus} GPUs"
        raise MukiError(what, where=f"--processes {processes}", fix="A process needs one for itself: lower it")
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    settings = LaunchConfig(1, 1, processes, rdzv_backend="c10d", rdzv_endpoint="localhost:0", max_restarts=0)
    os.environ[_LAUNCHED] = "1"
    handlers = {number: handler for number in _SIGNALS if (handler := signal.getsignal(number)) is not None}
    try:
        elastic_launch(settings, sys.executable)(*command)
    except ChildFailedError as error:
        number, failure = error.get_first_failure()
        what = f"process {number} of {processes} ended with exit code {failure.exitcode}"
        fix = "See its message above, if there is one; run the command again, and it continues from its last checkpoint"
        raise MukiError(what, where="train-student", fix=fix) from None
    except SignalException as error:
        if error.sigval == signal.SIGINT:
            raise KeyboardInterrupt from None
        sys.exit(128 + error.sigval)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        del os.environ[_LAUNCHED]


def is_lost(error: BaseException) -> bool:
    """Whether an error means that another process of the training has died."""
    return any(sign in str(error) for sign in _LOST)


@contextmanager
def leaving_quietly() -> Iterator[None]:
    """Inside, a process works with others, and leaves them without a message of its own.

    Where it succeeds, it ends the connection: gloo's threads, still running, can abort a process that exits.
    Where another process is lost, it exits at once: the one that died is reported by `launch`.

    Raises:
        MukiError: The processes cannot work together.
    """
    try:
        yield
    except RuntimeError as error:
        if world_size() == 1:
            raise
        if is_lost(error):
            sys.exit(3)
        if any(sign in str(error) for sign in _TOGETHER):
            what = f"the processes cannot work together ({brief(error)})"
            raise MukiError(what, where="train-student", fix="Mend the network, or train in one process") from error
        raise
    if world_size() > 1:  # after an error the others may still wait in a message, and so would the ending
        from torch import distributed

        if distributed.is_initialized():
            distributed.destroy_process_group()
