"""Train a classifier on labelled texts: the teachers of the demo and of the experiments."""

import tempfile
from pathlib import Path

import polars as pl
from datasets import Dataset

from pipeline.config import TeacherTraining
from pipeline.errors import MukiError
from pipeline.progress import SILENT, Progress
from pipeline.training.trainer import (
    Collator,
    ResumableTrainer,
    arguments,
    load_base,
    logging_steps,
    run,
    save,
    tokenised,
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
    save(trainer, tokenizer, folder)
    return next((float(entry["loss"]) for entry in reversed(trainer.state.log_history) if "loss" in entry), None)
