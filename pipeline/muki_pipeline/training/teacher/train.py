"""Train a classifier on labelled texts: the teachers of the demo and of the experiments."""

from functools import partial
from pathlib import Path

import polars as pl

from muki_pipeline.config import TeacherTraining, TrainTeacher
from muki_pipeline.errors import MukiError
from muki_pipeline.layout import Layout
from muki_pipeline.progress import SILENT, Progress
from muki_pipeline.store import schema
from muki_pipeline.store.columns import frame
from muki_pipeline.store.keys import canonical_key
from muki_pipeline.store.table import read_table_file
from muki_pipeline.training.base_files import base_digest
from muki_pipeline.training.finished import found, is_kept, only_training, settled, trained_before


def train_teacher(name: str, teachers: TrainTeacher, layout: Layout, progress: Progress = SILENT) -> float | None:
    """Train one of the project's own teachers and save it where the layout says.

    A teacher that is there already, of the same settings and the same rows of its labels, is kept; one that DVC has
    removed is put back.

    Args:
        name: One of `teachers`.
        teachers: The block `train_teacher`.
        layout: Where the tables lie.
        progress: Receives the training's steps.

    Returns:
        See `fine_tune`.

    Raises:
        MukiError: Another process trains it; see `fine_tune`.
    """
    rows = read_table_file(
        layout.teacher_train, ["text", "label"], "Set prepare.rows_per_label and run muki-pipeline prepare"
    )
    folder, kept = layout.teacher(name), layout.kept_teachers(name)
    with only_training(folder, kept, kept.with_suffix(".lock"), f"training teacher {name}"):
        settings = teachers.settings_of(name)
        labels = teachers.teachers[name].labels
        return fine_tune(settings, labels, frame(rows), folder, layout.root, progress, kept)


def fine_tune(
    settings: TeacherTraining,
    labels: list[str],
    rows: pl.DataFrame,
    folder: Path,
    root: Path,
    progress: Progress = SILENT,
    kept: Path | None = None,
) -> float | None:
    """Fine-tune a pretrained model on the rows that bear `labels`, and save it to `folder`, unless it is there already.

    Args:
        settings: How.
        labels: What the classifier will know, in the order of its outputs.
        rows: `text`, `label`; rows with other labels are left aside.
        folder: Where it is saved.
        root: What a relative model path is relative to.
        progress: Receives the training's steps.
        kept: Where finished classifiers are kept, see `found`; None where they are not.

    Returns:
        The last loss that was logged, in nats; log(labels) is what guessing gives.

    Raises:
        MukiError: A label has no row, or the model cannot be loaded.
    """
    if absent := [label for label in labels if label not in set(rows["label"])]:
        raise MukiError(
            f"no training text is labelled {absent}", where=str(folder), fix="Correct train_teacher.teachers"
        )
    own = rows.filter(pl.col("label").is_in(labels))
    key_of = partial(_training_key, labels=labels, own=own, root=root)
    settings = settled(
        settings,
        lambda each: trained_before(folder, key_of(each)) is not None,
        lambda each: is_kept(kept, key_of(each)),
    )
    key = key_of(settings)
    if (finished := found(folder, kept, key)) is not None:
        return finished.get("loss")
    # torch and transformers: only where something is trained
    from muki_pipeline.training.saving import last_losses, save
    from muki_pipeline.training.teacher.fit import fit

    model, trainer = fit(settings, labels, own, root, progress, f"teacher {folder.name}")
    save(trainer, model, folder, key)
    return last_losses(trainer).get("loss")


def _training_key(settings: TeacherTraining, labels: list[str], own: pl.DataFrame, root: Path) -> str:
    """SHA-256 of everything that determines the classifier: of the rows, those of its own labels."""
    texts = canonical_key({"rows": own.select("text", "label").rows()})
    facts = {"version": schema.STUDENT_VERSION, "settings": settings.model_dump(), "labels": labels, "texts": texts}
    return canonical_key(facts | {"base": base_digest(settings, root)})
