"""A file of texts -> the same file with labels and probabilities."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from muki_pipeline.corpus.dialects import UNKNOWN, Dialect
from muki_pipeline.corpus.formats import kind_of, read_table
from muki_pipeline.corpus.readers import check_filled, null_remedy, strings
from muki_pipeline.deployment.writers import check_writable, write_table
from muki_pipeline.errors import MukiError, choice
from muki_pipeline.evaluation.predict import stored_predictions
from muki_pipeline.progress import SILENT, Progress
from muki_pipeline.store import files
from muki_pipeline.store.folder import FolderStore

ROWS = 10_000
"""Texts after which what is done is stored."""


@dataclass(frozen=True)
class Request:
    """What is to be classified.

    Attributes:
        source: A file that `prepare` could read.
        target: A file of one of the formats of `WRITERS`.
        text: Name of the column with the texts, or its number where there is no header.
        dialect: How the source's columns are written, where that is known.
        every_label: Add a column `probability of LABEL` for every label.
        force: Replace a target that is there.
    """

    source: Path
    target: Path
    text: str
    dialect: Dialect = UNKNOWN
    every_label: bool = False
    force: bool = False


class Classifier(Protocol):
    """A student, or the teachers with their router."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Its label names."""

    @property
    def key(self) -> str:
        """SHA-256 of everything that determines an answer, except for the text."""

    def probs(self, texts: list[str], progress: Progress) -> NDArray[np.float32]:
        """Probabilities `[texts, labels]`."""


def classify_file(classifier: Classifier, request: Request, progress: Progress = SILENT) -> list[str]:
    """Classify a file's texts and write all its columns with `label` and `probability` beside them.

    Where the file has such a column already, the new ones are called `predicted label` and so on. What a killed run has
    finished is kept in a hidden folder beside the target, and used if classifier and texts are the same. The target
    appears only when it is complete.

    Args:
        classifier: What answers.
        request: What is to be classified.
        progress: Counts the texts that went through the network.

    Returns:
        The names of the new columns.

    Raises:
        MukiError: The source cannot be read, or has no such column of texts; the target is the source, is there
            already, or cannot hold one of the columns.
    """
    source, target = request.source, request.target
    if target.resolve() == source.resolve():
        raise MukiError("is the file with the texts", where=str(target), fix="Name another file with --out")
    if files.exists(target) and not request.force:
        raise MukiError("is there already", where=str(target), fix="Name another file, or overwrite it with --force")
    frame = read_table(source, dialect=request.dialect)
    texts = _texts(frame, request.text, source)
    check_writable(frame, target)
    work = target.with_name(f".{target.name}.work")
    probs = np.concatenate(list(_in_parts(classifier, texts, work, progress)))
    names = np.array(classifier.labels, dtype=object)
    added = {
        "label": pl.Series(names[probs.argmax(axis=1)], dtype=pl.String),
        "probability": pl.Series(probs.max(axis=1)),
    }
    if request.every_label:
        added |= {f"probability of {name}": pl.Series(column) for name, column in zip(names, probs.T, strict=True)}
    named = _new_names(list(added), frame.columns)
    columns = [column.alias(name) for name, column in zip(named, added.values(), strict=True)]
    write_table(frame.with_columns(columns), target)
    files.remove([work])
    return named


def _new_names(names: list[str], taken: list[str]) -> list[str]:
    """Names for new columns: where one of them is taken, all of them say that they are predicted."""
    while set(names) & set(taken):
        names = [f"predicted {name}" for name in names]
    return names


def _texts(frame: pl.DataFrame, column: str, source: Path) -> pl.Series:
    if frame.is_empty():
        raise MukiError("holds no text", where=str(source), fix="Name a file with rows")
    if column not in frame.columns:
        raise MukiError(f"has no column {column!r}", where=str(source), fix=choice(column, frame.columns))
    texts = frame.select(strings(frame, column, str(source), is_text=True)).to_series()
    check_filled(texts, column, str(source), null_remedy(kind_of(source)))
    return texts


def _in_parts(
    classifier: Classifier, texts: pl.Series, work: Path, progress: Progress
) -> Iterator[NDArray[np.float32]]:
    """Probabilities `[texts, labels]` of each part, stored as soon as they are known."""
    store = FolderStore(work)
    for start in range(0, len(texts), ROWS):
        part = texts[start : start + ROWS]
        numbered = pl.DataFrame({"id": pl.arange(start, start + len(part), eager=True).cast(pl.String), "text": part})
        yield stored_predictions(classifier.key, numbered, store, lambda several: classifier.probs(several, progress))
