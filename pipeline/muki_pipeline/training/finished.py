"""Finished trainings: found again by their key, put back where DVC removed them, kept whatever their arithmetic was."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, get_args

from muki_pipeline.config import Dtype, Training
from muki_pipeline.layout import TRAINING
from muki_pipeline.store import files, folders
from muki_pipeline.training import processes

_LOG = logging.getLogger(__name__)
SomeTraining = TypeVar("SomeTraining", bound=Training)


KEPT = 3
"""Trainings of one model whose files are kept, so that going back to earlier settings trains nothing."""


@contextmanager
def only_training(folder: Path, kept: Path, lock: Path, what: str) -> Iterator[None]:
    """Hold the lock of a training; under torchrun the first process holds it for all.

    What the folder holds before and at the end is kept under the key of its training. What somebody has changed there
    is moved away; it comes back where no model takes its place.

    Args:
        folder: Where the model is saved.
        kept: Where finished models are kept, see `found`.
        lock: The lock file.
        what: What the process that holds it is doing, for the error of another one.

    Raises:
        MukiError: Another process holds the lock.
    """
    if not processes.is_first():
        yield
        return
    with files.only_one(lock, what):
        moved = folders.set_aside(folder, kept)
        _keep(folder, kept)
        try:
            yield
        except BaseException:
            folders.bring_back(moved, folder)
            raise
        if moved is not None:
            _LOG.warning(folders.MOVED, folder, moved)
        _keep(folder, kept)
        files.remove(folders.oldest(kept, KEPT))


def _keep(folder: Path, kept: Path) -> None:
    if (key := _read(folder).get("key")) is not None:
        folders.cache(folder, kept / key)


def trained_before(folder: Path, key: str) -> dict[str, float] | None:
    """The losses of the model in a folder, if it is whole and came from the training with this key; else None."""
    found = _read(folder) if folders.is_sealed(folder) else {}
    return dict(found["losses"]) if found.get("key") == key else None


def is_kept(kept: Path | None, key: str) -> bool:
    """Whether the model of the training with this key is kept."""
    return kept is not None and trained_before(kept / key, key) is not None


def found(folder: Path, kept: Path | None, key: str) -> dict[str, float] | None:
    """As `trained_before`; a kept model is put into the folder first: DVC removed it, or another took its place."""
    if kept is not None and trained_before(folder, key) is None and is_kept(kept, key):
        folders.copy(kept / key, folder)
    return trained_before(folder, key)


def _read(folder: Path) -> dict[str, Any]:
    return files.read_json(folder / TRAINING, "") if files.exists(folder / TRAINING) else {}


def settled(settings: SomeTraining, *known: Callable[[SomeTraining], bool]) -> SomeTraining:
    """The settings with the arithmetic that `precision: auto` stands for: the machine's fastest.

    What is known in some arithmetic decides before the machine does: no work is done again.

    Args:
        settings: How to train.
        known: Whether there is something of a training: finished, or else kept, or else begun.
    """
    if settings.precision != "auto":
        return settings
    choices = {precision: settings.model_copy(update={"precision": precision}) for precision in get_args(Dtype)}
    found = (each for is_known in known for each in choices.values() if is_known(each))
    if (first := next(found, None)) is not None:
        return first
    from muki_pipeline.models.devices import choose_device, fast_dtype  # torch: only where something is trained

    return choices[fast_dtype(choose_device("auto"))]
