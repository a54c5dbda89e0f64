"""The student: trained from a golden table alone and saved as a folder that is ready for the hub."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor, nn
from transformers import PreTrainedModel

from muki_pipeline.config import Student
from muki_pipeline.errors import MukiError
from muki_pipeline.layout import MAKE_GOLDEN, open_golden
from muki_pipeline.models.heads import classifier_head, recording_features
from muki_pipeline.progress import SILENT, Progress
from muki_pipeline.tables import files, schema
from muki_pipeline.tables.keys import canonical_key
from muki_pipeline.tables.store import Shard
from muki_pipeline.training.base import base_digest
from muki_pipeline.training.batches import Collator
from muki_pipeline.training.student.alignment import Alignment
from muki_pipeline.training.student.golden_rows import read_tokens, surest_texts, write_tokens
from muki_pipeline.training.student.losses import LOSSES, Columns, Loss
from muki_pipeline.training.student.model_card import model_card
from muki_pipeline.training.student.start import fit_head, load_start
from muki_pipeline.training.trainer import (
    ResumableTrainer,
    arguments,
    logging_steps,
    resolved,
    resume_point,
    run,
    save,
    settled,
    trained_before,
)

_LOG = logging.getLogger(__name__)


class IntegrationTrainer(ResumableTrainer):
    """A Trainer with the loss that the golden table names."""

    def __init__(self, *args: Any, loss: Loss, temperature: float, columns: Columns, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.loss, self.temperature, self.columns = loss, temperature, columns
        self.supervision = set(_supervision(loss))  # columns that are not inputs of the model
        self.model_accepts_loss_kwargs = False  # the loss is a mean over its batch

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """The loss of a batch, and on request the model's outputs."""
        arguments = {name: value for name, value in inputs.items() if name not in self.supervision}
        aligned = getattr(self.model, _ALIGNMENT, None)
        if aligned is None:
            outputs = model(**arguments)
        else:
            with recording_features(aligned.head) as features:
                outputs = model(**arguments)
        loss = self.loss_of(outputs.logits, inputs)
        if aligned is not None:
            loss = loss + aligned(features[0], inputs[schema.TEACHER_FEATURES.name])
        return (loss, outputs) if return_outputs else loss

    def loss_of(self, logits: Tensor, rows: Mapping[str, Tensor]) -> Tensor:
        """The loss of logits `[texts, labels]`, of features apart, given the supervision of these texts."""
        return self.loss.compute(logits, rows[self.loss.targets], self.columns, rows["weight"], self.temperature)


class _AlignedFeatures(nn.Module):
    """A loss of features and its layers. It hangs on the model while it is trained, so that checkpoints hold it."""

    def __init__(
        self, model: PreTrainedModel, alignment: Callable[[int, Sequence[int]], Alignment], widths: Sequence[int]
    ) -> None:
        super().__init__()
        head = classifier_head(model, "student.model")
        self._head = [head]  # not a part of this module
        self.widths = list(widths)
        self.loss = alignment(head.get_parameter("weight").shape[1], widths)

    @property
    def head(self) -> nn.Module:
        return self._head[0]

    def forward(self, student: Tensor, teachers: Tensor) -> Tensor:
        with torch.autocast(student.device.type, enabled=False):
            loss: Tensor = self.loss(student.float(), torch.split(teachers, self.widths, dim=-1))
        return loss


_ALIGNMENT = "feature_alignment"


def _supervision(loss: Loss) -> list[str]:
    """The golden table's columns that a loss reads."""
    return [loss.targets, "weight", *([] if loss.alignment is None else [schema.TEACHER_FEATURES.name])]


def training_key(settings: Student, shards: Sequence[Shard], root: Path) -> str:
    """What a training's checkpoints are stored under: a digest of everything that determines the student.

    Args:
        settings: The student's training.
        shards: The golden table's.
        root: What a relative model path is relative to.

    Raises:
        MukiError: No such pretrained model.
    """
    return canonical_key(
        {
            "version": schema.STUDENT_VERSION,
            "golden": [shard.sha256 for shard in shards],
            "student": resolved(settings).model_dump(),
            "base": base_digest(settings, root),
        }
    )


def train_student(
    settings: Student,
    golden: Path,
    output: Path,
    checkpoints: Path,
    root: Path,
    progress: Progress = SILENT,
    name: str = "student",
) -> dict[str, float]:
    """Train the student from a golden table and save it; nothing else of the project is read.

    A student that is there already, of the same table and settings, is kept. A killed run continues from its last
    checkpoint. Checkpoints are stored under `training_key`, so no other training's checkpoint is ever used.

    Args:
        settings: The `student` block.
        golden: Folder of the golden table.
        output: Folder of the student.
        checkpoints: Folder under which checkpoints are stored while the training lasts.
        root: What a relative model path is relative to.
        progress: Told of the training's steps.
        name: What progress calls the training.

    Returns:
        `loss` and, where rows are held out, `validation_loss` at the end.

    Raises:
        MukiError: The golden table is missing, damaged or made for another temperature; the model cannot be loaded;
            the training diverged.
    """
    table = open_golden(golden)
    shards, facts = table.shards, table.facts
    if facts.get("loss") not in LOSSES:
        raise MukiError("was made by another version of this program", where=str(golden), fix=MAKE_GOLDEN)
    if facts["temperature"] != settings.temperature:
        raise MukiError(
            f"was made for temperature {facts['temperature']}, but student.temperature is {settings.temperature}",
            where=str(golden),
            fix=MAKE_GOLDEN,
        )
    settings = settled(
        settings,
        lambda each: trained_before(output, training_key(each, shards, root)) is not None,
        lambda each: files.exists(checkpoints / training_key(each, shards, root)),
    )
    key = training_key(settings, shards, root)
    if (finished := trained_before(output, key)) is not None:
        _LOG.info("%s is of this table and these settings already", output)
        return finished
    _LOG.info("%s starts from %s, in %s", name, settings.model, settings.precision)
    model, tokenizer = load_start(settings, list(facts["labels"]), root)
    loss = LOSSES[facts["loss"]]
    if loss.alignment is not None:
        model.add_module(_ALIGNMENT, _AlignedFeatures(model, loss.alignment, facts["feature_widths"]))
    own_checkpoints = checkpoints / key
    processes = arguments(settings, own_checkpoints)
    tokens = own_checkpoints / "tokens.arrow"
    with processes.main_process_first(local=False):
        if processes.process_index == 0:
            write_tokens(golden, _supervision(loss), tokenizer, settings.max_length, tokens)
        data = read_tokens(tokens)
    train, validation = _hold_out(data, settings)
    epochs = epochs_of(settings, len(train))
    _LOG.info("%s reads %d texts %d times", name, len(train), epochs)
    steps = -(-len(train) // settings.batch_size) * epochs
    collator = Collator(tokenizer)
    trainer = IntegrationTrainer(
        model=model,
        args=arguments(
            settings,
            own_checkpoints,
            num_train_epochs=epochs,
            logging_steps=logging_steps(steps),
            save_steps=settings.checkpoint_steps,
            # Validation just before each checkpoint: it draws random numbers, and after a resume they must be the same.
            eval_strategy="steps" if validation else "no",
            eval_steps=settings.checkpoint_steps,
            prediction_loss_only=True,
            # The Trainer computes a validation loss only where it sees these columns.
            label_names=_supervision(loss),
        ),
        train_dataset=train,
        eval_dataset=validation,
        data_collator=collator,
        processing_class=tokenizer,
        loss=loss,
        temperature=settings.temperature,
        columns=[teacher["columns"] for teacher in facts["teachers"].values()],
    )
    checkpoint = resume_point(trainer)
    if checkpoint is None:
        fit_head(model, train, collator, trainer.loss_of)
    run(trainer, progress, name, checkpoint)
    if validation:
        trainer.evaluate()
    losses = _last_losses(trainer)
    if loss.alignment is not None:
        delattr(model, _ALIGNMENT)
    tokenizer.model_max_length = settings.max_length  # whoever loads the student reads what it was trained to read
    examples = surest_texts(golden, list(facts["labels"]), settings.card_examples)
    save(trainer, tokenizer, output, key, losses, model_card(settings, facts, losses, examples))
    if trainer.is_world_process_zero():
        files.remove([own_checkpoints])
    return losses


_FEWEST_STEPS, _FEWEST_EPOCHS = 1000, 3
"""Of `epochs: auto`. Many labels take steps to learn, however few texts there are."""


def epochs_of(settings: Student, texts: int) -> int:
    """How often the student reads so many texts: what `epochs: auto` stands for."""
    if settings.epochs != "auto":
        return settings.epochs
    return max(-(-_FEWEST_STEPS // max(-(-texts // settings.batch_size), 1)), _FEWEST_EPOCHS)


def _hold_out(data: Dataset, settings: Student) -> tuple[Dataset, Dataset | None]:
    """Training rows and the validation share, at least one row where a share is asked for and there are two."""
    rows = max(round(len(data) * settings.validation_share), 1) if settings.validation_share and len(data) > 1 else 0
    if not rows:
        return data, None
    parts = data.train_test_split(test_size=rows, seed=settings.seed)
    return parts["train"], parts["test"]


def _last_losses(trainer: ResumableTrainer) -> dict[str, float]:
    history = trainer.state.log_history
    last = {name: [entry[name] for entry in history if name in entry] for name in ("loss", "eval_loss")}
    names = {"loss": "loss", "eval_loss": "validation_loss"}
    return {names[name]: values[-1] for name, values in last.items() if values}
