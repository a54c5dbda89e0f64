"""Training a classifier with the Hugging Face Trainer: what teachers and students have in common."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from safetensors import SafetensorError
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerState,
    TrainingArguments,
)

from muki_pipeline.config import Training
from muki_pipeline.errors import MukiError, brief
from muki_pipeline.progress import Progress
from muki_pipeline.store import files, folders
from muki_pipeline.training import processes
from muki_pipeline.training.batches import EpochSampler
from muki_pipeline.training.vocabulary import occurring_tokens

_LOGS = 50
"""Points of a training curve."""


def arguments(settings: Training, output: Path, steps: int, **others: Any) -> TrainingArguments:
    """Trainer arguments that teacher and student share.

    Under torchrun, a batch is divided among the processes, so that a step is the same however many there are.

    Args:
        settings: How to train, with the arithmetic settled.
        output: Folder of the checkpoints.
        steps: How many there will be.
        others: More arguments.

    Raises:
        MukiError: A batch cannot be divided evenly.
    """
    on_cpu = not torch.cuda.is_available()
    together = processes.world_size()
    processes.check_batch(settings.batch_size, together)
    result = TrainingArguments(
        output_dir=str(output),
        per_device_train_batch_size=settings.batch_size // together,
        per_device_eval_batch_size=settings.batch_size // together,
        ddp_backend="gloo" if on_cpu and together > 1 else None,
        learning_rate=settings.learning_rate,
        warmup_steps=settings.warmup,  # below 1 it is a share of all steps
        weight_decay=settings.weight_decay,
        seed=settings.seed,
        bf16=settings.precision == "bfloat16",
        remove_unused_columns=False,
        use_cpu=on_cpu,
        dataloader_pin_memory=not on_cpu,
        logging_steps=max(steps // _LOGS, 1),
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
        with _writing(output):
            super()._save_checkpoint(*args)
        self.accelerator.wait_for_everyone()  # every process has its own random numbers in it
        with _writing(output):
            if self.is_world_process_zero():
                folders.seal_folder(newest)
        if self.is_world_process_zero():
            files.remove(folder for folder in folders.subfolders(output, "checkpoint-*") if folder != newest)


@contextmanager
def _writing(output: Path) -> Iterator[None]:
    """Inside, an error means that the disk refuses a checkpoint, unless memory is full or another process lost."""
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        if isinstance(error, torch.OutOfMemoryError) or processes.is_lost(error):
            raise
        what = f"a checkpoint cannot be written ({brief(error)})"
        fix = "Free space or make the folder writable, then run the command again"
        raise MukiError(what, where=str(output), fix=fix) from error


def last_checkpoint(output: Path) -> str | None:
    """The newest sealed checkpoint whose files are intact, left by a killed run; all others are removed."""
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

    def on_train_begin(self, args: Any, state: TrainerState, control: Any, **kwargs: Any) -> None:
        self.task = self.progress.begin(self.name, state.max_steps, "steps")

    def on_step_end(self, args: Any, state: TrainerState, control: Any, **kwargs: Any) -> None:
        last = next((entry for entry in reversed(state.log_history) if "loss" in entry), None)
        note = "" if last is None else f"loss {last['loss']:.4f}, learning rate {last['learning_rate']:.1e}"
        # After a resume the first step reported is not step 1: the steps before it count as done.
        self.task.advance(state.global_step - self.reported, note)
        self.reported = state.global_step


def run(trainer: Trainer, model: PreTrainedModel, progress: Progress, name: str, checkpoint: str | None = None) -> None:
    """Train, and measure the validation loss at the end where rows are held out.

    Args:
        trainer: What trains.
        model: The classifier, or the part of the trainer's module that is one.
        progress: Receives the steps.
        name: What progress and errors call the training.
        checkpoint: Where to continue from; see `last_checkpoint`.

    Raises:
        MukiError: A loss or a weight became NaN or infinite.
    """
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(_Reporter(progress, name))
    tokenizer = trainer.processing_class
    assert isinstance(tokenizer, PreTrainedTokenizerBase)
    data = [texts for texts in (trainer.train_dataset, trainer.eval_dataset) if isinstance(texts, Dataset)]
    with occurring_tokens(model, tokenizer, data):
        trainer.train(resume_from_checkpoint=checkpoint)
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    if not all(map(math.isfinite, losses)) or not all(tensor.isfinite().all() for tensor in model.parameters()):
        what = "the training diverged: its loss or weights are NaN or infinite, so nothing was saved"
        raise MukiError(what, where=name, fix="Lower the learning rate")
    if trainer.eval_dataset is not None:
        trainer.evaluate()
