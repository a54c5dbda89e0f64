"""A file of texts -> the same file with labels and probabilities."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.corpus.readers import read_table
from pipeline.corpus.table import content_digest
from pipeline.errors import MukiError, choice, first
from pipeline.integration.confidence import softmax
from pipeline.models.students import LoadedStudent
from pipeline.progress import SILENT, Progress
from pipeline.tables import files
from pipeline.tables.columns import arrow, fixed_size_lists, matrix, parquet_bytes, spreadsheet_csv
from pipeline.tables.keys import canonical_key, files_digest
from pipeline.tables.work import find_stored, store_shard

ROWS = 10_000
"""Texts after which what is done is stored."""
WRITERS = {".parquet": parquet_bytes, ".csv": spreadsheet_csv}
"""How a file of predictions is written, by its ending."""


def classify_file(
    student: LoadedStudent,
    folder: Path,
    source: Path,
    target: Path,
    text: str,
    every_label: bool = False,
    progress: Progress = SILENT,
) -> int:
    """Classify a file's texts and write all its columns with `label` and `probability` beside them.

    What a killed run has finished is kept in a hidden folder beside the target, and used if student and texts are the
    same. The target appears only when it is complete.

    Args:
        student: The student.
        folder: Its folder.
        source: A file that `prepare` could read.
        target: A Parquet or CSV file.
        text: Name of the column with the texts.
        every_label: Add a column `probability of LABEL` for every label.
        progress: Told of the texts that went through the network.

    Returns:
        The number of texts.

    Raises:
        MukiError: The source cannot be read, or has no such column of texts; the target is the source, or its
            ending is unknown.
    """
    if target.suffix not in WRITERS:
        raise MukiError("is no known kind of file", where=str(target), fix=f"Use {' or '.join(WRITERS)}")
    if target.resolve() == source.resolve():
        raise MukiError("is the file with the texts", where=str(target), fix="Name another file with --out")
    frame = read_table(source)
    texts = _texts(frame, text, source)
    added = ["label", "probability", *(f"probability of {label}" for label in student.labels if every_label)]
    if taken := sorted(set(added) & set(frame.columns)):
        raise MukiError(f"already has columns {first(taken)}", where=str(source), fix="Rename them")
    work = target.with_name(f".{target.name}.work")
    probs = np.concatenate(list(_in_parts(student, folder, texts, work, progress)))
    names = np.array(student.labels, dtype=object)
    columns = [
        pl.Series("label", names[probs.argmax(axis=1)], dtype=pl.String),
        pl.Series("probability", probs.max(axis=1)),
        *(pl.Series(f"probability of {names[n]}", probs[:, n]) for n in range(len(names)) if every_label),
    ]
    files.write_bytes(target, WRITERS[target.suffix](frame.with_columns(columns)))
    files.remove([work])
    return len(texts)


def _texts(frame: pl.DataFrame, column: str, source: Path) -> pl.Series:
    if column not in frame.columns:
        raise MukiError(f"has no column {column!r}", where=str(source), fix=choice(column, frame.columns))
    texts = frame[column]
    if texts.dtype != pl.String:
        raise MukiError(f"column {column} holds {texts.dtype}, not texts", where=str(source), fix="Name another column")
    if texts.null_count():
        rows = texts.is_null().arg_true() + 1
        what = f"column {column} is empty (null) in {len(rows)} rows, first in row {rows[0]}"
        raise MukiError(what, where=str(source), fix='Drop these rows, or write ""')
    if texts.is_empty():
        raise MukiError("holds no text", where=str(source), fix="Name a file with rows")
    return texts


def _in_parts(
    student: LoadedStudent, folder: Path, texts: pl.Series, work: Path, progress: Progress
) -> Iterator[NDArray[np.float32]]:
    """Probabilities `[texts, labels]` of each part, stored as soon as they are known."""
    model = files_digest(sorted(path for path in folder.iterdir() if path.suffix in (".json", ".safetensors")))
    task = progress.begin("predict", len(texts), "texts")
    for start in range(0, len(texts), ROWS):
        part = texts[start : start + ROWS]
        table = arrow(
            pl.DataFrame({"id": pl.arange(start, start + len(part), eager=True).cast(pl.String), "text": part})
        )
        key = canonical_key({"student": model, "max_length": student.max_length, "texts": content_digest(table)})
        stored = find_stored(work, key)
        if stored is None:
            probs = softmax(student.logits(part.to_list(), task)).astype(np.float32)
            columns = arrow(pl.DataFrame({"id": table["id"]})).append_column("probs", fixed_size_lists(probs))
            stored = store_shard(work, key, columns, {})
        else:
            task.advance(len(part))
        yield matrix(stored.read(["probs"], "Run the command again")["probs"])
