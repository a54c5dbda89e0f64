"""A training's end: model, tokenizer, curve and card are saved as a whole, with the key by which they are found."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
from safetensors import SafetensorError
from transformers import PreTrainedModel, PreTrainedTokenizerBase, Trainer

from muki_pipeline.errors import MukiError
from muki_pipeline.layout import TRAINING, TRAINING_CURVE
from muki_pipeline.store import files, folders

_LOGGED = {"loss": "loss", "eval_loss": "validation_loss"}
"""What the Trainer calls the losses, and what we call them."""


def last_losses(trainer: Trainer) -> dict[str, float]:
    """`loss` and, where rows are held out, `validation_loss` as they were logged last, nats."""
    last = {name: value for entry in trainer.state.log_history for name, value in entry.items()}
    return {name: float(last[logged]) for logged, name in _LOGGED.items() if logged in last}


def save(
    trainer: Trainer,
    model: PreTrainedModel,
    folder: Path,
    key: str,
    told: Mapping[str, Any] | None = None,
    card: str | None = None,
) -> None:
    """Save model, tokenizer, training curve and card; they replace the old folder only when everything is written.

    Under torchrun the first process saves, and the others wait for it.

    Args:
        trainer: It has trained the model.
        model: What is saved.
        folder: Where to.
        key: Of everything that determines the model; see `trained_before`.
        told: What else training.json says.
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
            files.write_json(unfinished / TRAINING, {"key": key, "losses": last_losses(trainer), **(told or {})})
            if card is not None:
                files.write_bytes(unfinished / folders.CARD, card.encode())
    trainer.accelerator.wait_for_everyone()


def _curve(trainer: Trainer) -> pl.DataFrame:
    """Training and validation loss, a row for each step at which one was logged."""
    history = pl.DataFrame(trainer.state.log_history, schema={"step": pl.Int64} | dict.fromkeys(_LOGGED, pl.Float64))
    losses = [pl.col(logged).drop_nulls().last().alias(name) for logged, name in _LOGGED.items()]
    return history.group_by("step").agg(losses).remove(pl.all_horizontal(pl.exclude("step").is_null())).sort("step")
