"""Finished trainings: found again by their key, put back where DVC removed them, saved as a whole."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
from safetensors import SafetensorError
from transformers import PreTrainedModel, PreTrainedTokenizerBase, Trainer

from muki_pipeline.errors import MukiError
from muki_pipeline.layout import TRAINING_CURVE
from muki_pipeline.store import files, folders
from muki_pipeline.training import processes

_TRAINING = "training.json"
"""Which training a model comes from, and its losses."""
_LOGGED = {"loss": "loss", "eval_loss": "validation_loss"}
"""What the Trainer calls the losses, and what we call them."""


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
        folders.restore(folder, cached)
        yield
        folders.cache(folder, cached)


def trained_before(folder: Path, key: str) -> dict[str, float] | None:
    """The losses of the model in a folder, if it is whole and came from the training with this key; else None."""
    if not files.exists(folder / _TRAINING) or not folders.is_sealed(folder):
        return None
    found = files.read_json(folder / _TRAINING, "")
    return dict(found["losses"]) if found.get("key") == key else None


def last_losses(trainer: Trainer) -> dict[str, float]:
    """`loss` and, where rows are held out, `validation_loss` as they were logged last, nats."""
    last = {name: value for entry in trainer.state.log_history for name, value in entry.items()}
    return {name: float(last[logged]) for logged, name in _LOGGED.items() if logged in last}


def save(trainer: Trainer, model: PreTrainedModel, folder: Path, key: str, card: str | None = None) -> None:
    """Save model, tokenizer, training curve and card; they replace the old folder only when everything is written.

    Under torchrun the first process saves, and the others wait for it.

    Args:
        trainer: It has trained the model.
        model: What is saved.
        folder: Where to.
        key: Of everything that determines the model; see `trained_before`.
        card: The content of README.md.

    Raises:
        MukiError: The folder cannot be written.
    """
    if trainer.is_world_process_zero():
        tokenizer = trainer.processing_class
        assert isinstance(tokenizer, PreTrainedTokenizerBase)
        with folders.replacing_folder(folder) as unfinished:
            try:
                model.save_pretrained(unfinished)
            except SafetensorError as error:
                fix = "Free space or make the folder writable, then run the command again"
                raise MukiError(f"cannot be written ({error})", where=str(folder), fix=fix) from error
            tokenizer.save_pretrained(str(unfinished))
            files.write_bytes(unfinished / TRAINING_CURVE, _curve(trainer).write_csv().encode())
            files.write_json(unfinished / _TRAINING, {"key": key, "losses": last_losses(trainer)})
            if card is not None:
                files.write_bytes(unfinished / "README.md", card.encode())
    trainer.accelerator.wait_for_everyone()


def _curve(trainer: Trainer) -> pl.DataFrame:
    """Training and validation loss, a row for each step at which one was logged."""
    history = pl.DataFrame(trainer.state.log_history, schema={"step": pl.Int64} | dict.fromkeys(_LOGGED, pl.Float64))
    losses = [pl.col(logged).drop_nulls().last().alias(name) for logged, name in _LOGGED.items()]
    return history.group_by("step").agg(losses).remove(pl.all_horizontal(pl.exclude("step").is_null())).sort("step")
