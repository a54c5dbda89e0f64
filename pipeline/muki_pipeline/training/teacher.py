"""Train a classifier on labelled texts: the teachers of the demo and of the experiments."""

import tempfile
from pathlib import Path

import polars as pl
from datasets import Dataset

from muki_pipeline.config import TeacherTraining
from muki_pipeline.errors import MukiError
from muki_pipeline.progress import SILENT, Progress
from muki_pipeline.tables import schema
from muki_pipeline.tables.keys import canonical_key
from muki_pipeline.training.base import base_digest, load_base, named_labels
from muki_pipeline.training.batches import Collator, tokenised
from muki_pipeline.training.trainer import (
    ResumableTrainer,
    arguments,
    logging_steps,
    run,
    save,
    settled,
    trained_before,
)


def train_teacher(
    settings: TeacherTraining,
    labels: list[str],
    rows: pl.DataFrame,
    folder: Path,
    root: Path,
    progress: Progress = SILENT,
) -> float | None:
    """Fine-tune a pretrained model on the rows that bear `labels`, and save it to `folder`.

    A teacher that is there already, of the same rows and settings, is kept.

    Args:
        settings: How.
        labels: What the classifier will know, in the order of its outputs.
        rows: `text`, `label`; rows with other labels are left aside.
        folder: Where it is saved.
        root: What a relative model path is relative to.
        progress: Told of the training's steps.

    Returns:
        The last loss that was logged, in nats; log(labels) is what guessing gives.

    Raises:
        MukiError: A label has no row, or the model cannot be loaded.
    """
    if absent := [label for label in labels if label not in set(rows["label"])]:
        raise MukiError(
            f"no training text is labelled {absent}", where=str(folder), fix="Correct train_teacher.teachers"
        )
    settings = settled(
        settings, lambda each: trained_before(folder, _training_key(each, labels, rows, root)) is not None
    )
    key = _training_key(settings, labels, rows, root)
    if (finished := trained_before(folder, key)) is not None:
        return finished.get("loss")
    model, tokenizer = load_base(settings, labels, root)
    own = rows.filter(pl.col("label").is_in(labels))
    numbers = own["label"].replace_strict({label: number for number, label in enumerate(labels)}).to_list()
    data = tokenised(
        Dataset.from_dict({"text": own["text"].to_list(), "labels": numbers}), tokenizer, settings.max_length
    )
    with tempfile.TemporaryDirectory(prefix="muki-teacher-") as work:
        trainer = ResumableTrainer(
            model=model,
            args=arguments(
                settings,
                Path(work),
                max_steps=settings.steps,
                logging_steps=logging_steps(settings.steps),
                save_strategy="no",
            ),
            train_dataset=data,
            data_collator=Collator(tokenizer),
            processing_class=tokenizer,
        )
        run(trainer, progress, f"teacher {folder.name}")
    losses = [float(entry["loss"]) for entry in trainer.state.log_history if "loss" in entry]
    save(trainer, tokenizer, folder, key, {"loss": losses[-1]} if losses else {})
    return losses[-1] if losses else None


def _training_key(settings: TeacherTraining, labels: list[str], rows: pl.DataFrame, root: Path) -> str:
    """SHA-256 of everything that determines the classifier."""
    texts = canonical_key({"rows": rows.select("text", "label").rows()})
    facts = {"version": schema.STUDENT_VERSION, "settings": settings.model_dump(), "labels": labels, "texts": texts}
    # Teachers of a base without these labels are what they were before such rows were kept.
    kept = {label: row for label, row in named_labels(settings, root).items() if label in labels}
    return canonical_key(facts | {"base": base_digest(settings, root)} | ({"kept": kept} if kept else {}))
