"""Finished trainings: found again by their key, put back where DVC removed them, kept whatever their arithmetic was."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar, get_args

from muki_pipeline.config import Dtype, Training
from muki_pipeline.layout import TRAINING
from muki_pipeline.store import files, folders
from muki_pipeline.training import processes

_LOG = logging.getLogger(__name__)
SomeTraining = TypeVar("SomeTraining", bound=Training)


@contextmanager
def only_training(folder: Path, cached: Path, lock: Path, what: str) -> Iterator[None]:
    """Hold the lock of a training; under torchrun the first process holds it for all.

    DVC removes outputs before it makes them again. So the folder is put back first, and what it holds at the end is
    cached, by hard links.

    Args:
        folder: Where the model is saved.
        cached: Where its files are cached.
        lock: The lock file.
        what: What the process that holds it is doing, for the error of another one.

    Raises:
        MukiError: Another process holds the lock.
    """
    if not processes.is_first():
        yield
        return
    with files.only_one(lock, what):
        if (moved := folders.restore(folder, cached)) is not None:
            _LOG.warning("%s was changed after it was saved; what lay there is in %s now", folder, moved)
        yield
        folders.cache(folder, cached)


def trained_before(folder: Path, key: str) -> dict[str, float] | None:
    """The losses of the model in a folder, if it is whole and came from the training with this key; else None."""
    if not files.exists(folder / TRAINING) or not folders.is_sealed(folder):
        return None
    found = files.read_json(folder / TRAINING, "")
    return dict(found["losses"]) if found.get("key") == key else None


def settled(settings: SomeTraining, *known: Callable[[SomeTraining], bool]) -> SomeTraining:
    """The settings with the arithmetic that `precision: auto` stands for: the machine's fastest.

    What is known in some arithmetic decides before the machine does: no work is done again.

    Args:
        settings: How to train.
        known: Whether there is something of a training: finished, or else begun.
    """
    if settings.precision != "auto":
        return settings
    choices = {precision: settings.model_copy(update={"precision": precision}) for precision in get_args(Dtype)}
    found = (each for is_known in known for each in choices.values() if is_known(each))
    if (first := next(found, None)) is not None:
        return first
    from muki_pipeline.models.devices import choose_device, fast_dtype  # torch: only where something is trained

    return choices[fast_dtype(choose_device("auto"))]
