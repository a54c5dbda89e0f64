"""Training a classifier with the Hugging Face Trainer: what teachers and students have in common."""

import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

import polars as pl
import torch
from datasets import Dataset
from safetensors import SafetensorError
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from muki_pipeline.config import Dtype, Training
from muki_pipeline.errors import MukiError, brief
from muki_pipeline.layout import TRAINING_CURVE
from muki_pipeline.models.devices import choose_device, fast_dtype
from muki_pipeline.progress import Progress
from muki_pipeline.tables import files, folders
from muki_pipeline.training.batches import EpochSampler
from muki_pipeline.training.vocabulary import occurring_tokens

SomeTraining = TypeVar("SomeTraining", bound=Training)
_LOGS = 50
_TRAINING = "training.json"
"""Which training a model comes from, and its losses."""


def resolved(settings: SomeTraining) -> SomeTraining:
    """The settings with the arithmetic that `precision: auto` stands for on this machine."""
    if settings.precision != "auto":
        return settings
    return settings.model_copy(update={"precision": fast_dtype(choose_device("auto"))})


def settled(settings: SomeTraining, *known: Callable[[SomeTraining], bool]) -> SomeTraining:
    """As `resolved`, but what is known in some arithmetic decides before the machine does: no work is done again.

    Args:
        settings: How to train.
        known: Say whether there is something of a training: finished, or else begun.
    """
    if settings.precision != "auto":
        return settings
    choices = [settings.model_copy(update={"precision": precision}) for precision in get_args(Dtype)]
    return next((each for is_known in known for each in choices if is_known(each)), None) or resolved(settings)


def arguments(settings: Training, output: Path, **others: Any) -> TrainingArguments:
    """Trainer arguments that teacher and student share; `others` add to them.

    Under torchrun, a batch is divided among the processes, so that a step is the same however many there are.

    Raises:
        MukiError: It cannot be divided evenly.
    """
    on_cpu = not torch.cuda.is_available()
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if settings.batch_size % processes:
        what = f"is {settings.batch_size}, which {processes} processes cannot share evenly"
        raise MukiError(what, where="student.batch_size", fix="Set it to a multiple of the number of processes")
    result = TrainingArguments(
        output_dir=str(output),
        per_device_train_batch_size=settings.batch_size // processes,
        per_device_eval_batch_size=settings.batch_size // processes,
        ddp_backend="gloo" if on_cpu and processes > 1 else None,
        learning_rate=settings.learning_rate,
        warmup_steps=settings.warmup,  # below 1 it is a share of all steps
        weight_decay=settings.weight_decay,
        seed=settings.seed,
        bf16=resolved(settings).precision == "bfloat16",
        remove_unused_columns=False,
        use_cpu=on_cpu,
        dataloader_pin_memory=not on_cpu,
        logging_nan_inf_filter=False,  # a loss of NaN must be seen, not shown as 0
        report_to="none",
        disable_tqdm=True,
        **others,
    )
    if result.n_gpu > 1:
        # A process alone with several GPUs would train with a batch for each of them. torchrun uses all.
        result._n_gpu = 1
    return result


class ResumableTrainer(Trainer):
    """A Trainer whose resumed run ends in the same weights as an undisturbed one.

    The Trainer's own length-grouped sampler draws from the global generator, whose state at an epoch's beginning a
    checkpoint inside the epoch does not hold.

    A checkpoint counts only when it is sealed, and the one before it is removed only then: a kill or a full disk while
    one is written loses no finished work.
    """

    def _get_train_sampler(self, train_dataset: Any = None) -> EpochSampler:
        data: Any = self.train_dataset if train_dataset is None else train_dataset
        whole = self.args.train_batch_size * self.args.world_size
        return EpochSampler(whole, data.select_columns("length")[:]["length"], self.args.seed)

    def _save_checkpoint(self, *args: Any) -> None:
        output = Path(str(self.args.output_dir))
        newest = output / f"checkpoint-{self.state.global_step}"
        try:
            super()._save_checkpoint(*args)
            self.accelerator.wait_for_everyone()  # every process has its own random numbers in it
            if self.is_world_process_zero():
                folders.seal_folder(newest)
        except (OSError, RuntimeError, SafetensorError) as error:
            what = f"a checkpoint cannot be written ({brief(error)})"
            raise MukiError(
                what, where=str(output), fix="Free space or make the folder writable, then run the command again"
            ) from error
        if self.is_world_process_zero():
            files.remove(folder for folder in folders.subfolders(output, "checkpoint-*") if folder != newest)


def _last_whole_checkpoint(output: Path) -> str | None:
    """The newest sealed checkpoint whose files are intact; all others are removed."""
    found = folders.subfolders(output, "checkpoint-*")
    found.sort(key=lambda folder: int(folder.name.rpartition("-")[2]), reverse=True)
    whole = next((folder for folder in found if folders.is_sealed(folder)), None)
    files.remove(folder for folder in found if folder != whole)
    return None if whole is None else str(whole)


class _Reporter(TrainerCallback):
    """Reports every step, with the last loss and learning rate that were logged."""

    def __init__(self, progress: Progress, name: str) -> None:
        self.progress, self.name = progress, name
        self.reported = 0
        self.logged: dict[str, float] = {}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.task = self.progress.begin(self.name, state.max_steps, "steps")

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        self.logged.update(logs or {})

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        loss, rate = self.logged.get("loss"), self.logged.get("learning_rate", 0.0)
        # After a resume the first step reported is not step 1: the steps before it count as done.
        self.task.advance(
            state.global_step - self.reported, "" if loss is None else f"loss {loss:.4f}, learning rate {rate:.1e}"
        )
        self.reported = state.global_step


def resume_point(trainer: Trainer) -> str | None:
    """The checkpoint in the trainer's output folder that a killed run left, if it is whole; others are removed."""
    with trainer.args.main_process_first(local=False):  # the first one tidies up
        return _last_whole_checkpoint(Path(str(trainer.args.output_dir)))


def run(trainer: Trainer, progress: Progress, name: str, checkpoint: str | None = None) -> None:
    """Train, from a checkpoint if there is one.

    Args:
        trainer: What trains.
        progress: Told of the steps.
        name: What progress and errors call the training.
        checkpoint: From `resume_point`.

    Raises:
        MukiError: A loss or a weight became NaN or infinite.
    """
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(_Reporter(progress, name))
    model, tokenizer = trainer.model, trainer.processing_class
    assert isinstance(model, PreTrainedModel)
    assert isinstance(tokenizer, PreTrainedTokenizerBase)
    data = [texts for texts in (trainer.train_dataset, trainer.eval_dataset) if isinstance(texts, Dataset)]
    with occurring_tokens(model, tokenizer, data):
        trainer.train(resume_from_checkpoint=checkpoint)
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    weights = [] if trainer.model is None else trainer.model.parameters()
    is_finite = all(map(math.isfinite, losses)) and all(bool(tensor.isfinite().all()) for tensor in weights)
    if not is_finite:
        what = "the training diverged: its loss or weights are NaN or infinite, so nothing was saved"
        raise MukiError(what, where=name, fix="Lower the learning rate")


def trained_before(folder: Path, key: str) -> dict[str, float] | None:
    """The losses of the model in a folder, if it is whole and came from the training with this key; else None."""
    if not files.exists(folder / _TRAINING) or not folders.is_sealed(folder):
        return None
    found = files.read_json(folder / _TRAINING, "")
    return dict(found["losses"]) if found.get("key") == key else None


def save(
    trainer: Trainer,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    key: str,
    losses: Mapping[str, float],
    card: str | None = None,
) -> None:
    """Save model, tokenizer, training curve and card; they replace the old folder only when everything is written.

    Under torchrun the first process saves, and the others wait for it.

    Args:
        trainer: It has trained.
        tokenizer: The model's.
        folder: Where to.
        key: Of everything that determines the model; see `trained_before`.
        losses: At the end of the training, nats.
        card: The content of README.md.
    """
    if trainer.is_world_process_zero():
        _save(trainer, tokenizer, folder, key, losses, card)
    trainer.accelerator.wait_for_everyone()


def _save(
    trainer: Trainer,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    key: str,
    losses: Mapping[str, float],
    card: str | None,
) -> None:
    with folders.replacing_folder(folder) as unfinished:
        try:
            trainer.save_model(str(unfinished))
        except SafetensorError as error:
            fix = "Free space or make the folder writable, then run the command again"
            raise MukiError(f"cannot be written ({error})", where=str(folder), fix=fix) from error
        files.remove([unfinished / "training_args.bin"])  # a pickle with this machine's paths
        tokenizer.save_pretrained(str(unfinished))
        curve = pl.DataFrame(
            [{"step": step, **losses} for step, losses in sorted(_curve(trainer.state.log_history).items())],
            schema={"step": pl.Int64, "loss": pl.Float64, "validation_loss": pl.Float64},
        )
        files.write_bytes(unfinished / TRAINING_CURVE, curve.write_csv().encode())
        files.write_json(unfinished / _TRAINING, {"key": key, "losses": dict(losses)})
        if card is not None:
            files.write_bytes(unfinished / "README.md", card.encode())


def _curve(history: list[dict[str, float]]) -> dict[int, dict[str, float]]:
    """Training and validation loss by step, from the trainer's log."""
    curve: dict[int, dict[str, float]] = {}
    for entry in history:
        for logged, name in (("loss", "loss"), ("eval_loss", "validation_loss")):
            if logged in entry:
                curve.setdefault(int(entry["step"]), {})[name] = entry[logged]
    return curve


def logging_steps(total: int) -> int:
    """How many steps apart the loss is logged: about fifty points make a curve."""
    return max(total // _LOGS, 1)
