"""Training on labelled texts, as `train-teacher` does it."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

import polars as pl
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from muki_pipeline.config import TeacherTraining
from muki_pipeline.progress import Progress
from muki_pipeline.training.batches import Collator, tokenised
from muki_pipeline.training.start import fit_head, load_start
from muki_pipeline.training.trainer import ResumableTrainer, arguments, run


def fit(
    settings: TeacherTraining, labels: list[str], texts: pl.DataFrame, root: Path, progress: Progress, name: str
) -> tuple[PreTrainedModel, ResumableTrainer]:
    """Fit the head, then train everything, with the dropout that the pretrained model's config names.

    Args:
        settings: How, with the arithmetic settled.
        labels: What the classifier will know, in the order of its outputs.
        texts: `text`, `label`, all of these labels.
        root: What a relative model path is relative to.
        progress: Receives the training's steps.
        name: What progress calls the training.

    Returns:
        The classifier, and what trained it.

    Raises:
        MukiError: The model cannot be loaded, or the training diverged.
    """
    model, tokenizer = load_start(settings, labels, root)
    columns = texts["label"].replace_strict({label: column for column, label in enumerate(labels)}).to_list()
    data = tokenised({"text": texts["text"].to_list(), "labels": columns}, tokenizer, settings.max_length)
    collator = Collator(tokenizer)
    with tempfile.TemporaryDirectory(prefix="muki-teacher-") as work:
        trainer = ResumableTrainer(
            model=model,
            args=arguments(settings, Path(work), settings.steps, max_steps=settings.steps, save_strategy="no"),
            train_dataset=data,
            data_collator=collator,
            processing_class=tokenizer,
        )
        fit_head(model, data, collator, _loss, settings.precision)
        run(trainer, model, progress, name)
    return model, trainer


def _loss(logits: Tensor, rows: Mapping[str, Tensor]) -> Tensor:
    return cross_entropy(logits, rows["labels"])
