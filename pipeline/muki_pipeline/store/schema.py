"""Every table's columns and what they mean, and the version of the code that computes each kind of finished work.

A version is part of the key that finished work is stored under. Raise it when the numbers change: work that the older
code finished is then done again instead of being mixed with new work. `tests/test_versions.py` reminds you.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from muki_pipeline.store.columns import vectors

LABELS_VERSION = 6
"""Label shards: the columns and the numbers in them (`pipeline/muki_pipeline/labelling/`)."""
GOLDEN_VERSION = 12
"""Golden tables: scores, targets and weights, and what the manifest says (`supervision/`)."""
ROUTER_VERSION = 8
"""Fitted routers: what they store (`routing/`). Their scores are among the numbers of golden tables."""
FEATURES_VERSION = 1
"""What teachers' heads read (`pipeline/muki_pipeline/labelling/store.py`)."""
EMBEDDINGS_VERSION = 4
"""Neutral embeddings of texts (`pipeline/muki_pipeline/embedding/`)."""
LABEL_NAMES_VERSION = 5
"""Neutral embeddings of label names, and how a name is read as words (`embedding/run.py`)."""
PREDICTIONS_VERSION = 1
"""What students, teachers and routed teachers answer to texts outside the corpus (`evaluation/`, `models/`)."""
STUDENT_VERSION = 6
"""A student's training: checkpoints and the students of a comparison (`pipeline/muki_pipeline/training/`)."""


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        name: Its name.
        type: Its Arrow type, or the name of a width: the column then holds vectors of that width.
        meaning: What it holds, with its unit.
        number: Type of a vector's numbers.
    """

    name: str
    type: pa.DataType | str
    meaning: str
    number: pa.DataType = field(default_factory=pa.float32)


ANSWER_FILE = "answers"
"""The `kind` in the footer of a label shard that was made from a file of answers."""
_ID = Column("id", pa.string(), "hash of the text and of how many identical texts come before it")
_TEXT = Column("text", pa.string(), "the text")

CORPUS = (_ID, _TEXT)
LABELS = (
    _ID,
    Column("probs", "labels", "probability of each of the teacher's labels, averaged over the passes"),
    Column("logits", "labels", "logits without dropout; of a file of answers the logarithms of `probs`"),
    Column("entropy", pa.float32(), "entropy of `probs`, in nats (predictive entropy)"),
    Column("expected_entropy", pa.float32(), "average entropy of a single pass, in nats; null without samples"),
    Column("tokens", pa.int32(), "tokens that the teacher read; null in a file of answers"),
    Column("truncated", pa.bool_(), "whether the text was longer than that; null in a file of answers"),
)
ANSWERS = Column("answers", pa.int32(), "how many answers are averaged; with 0, `probs` is uniform and has no vote")
"""An extra column of the label tables that are made from files of answers."""
FEATURES = (_ID, Column("features", "size", "what the teacher's head reads, without dropout", pa.float16()))
EMBEDDINGS = (_ID, Column("embedding", "size", "neutral embedding of the text, of length 1", pa.float16()))
LABEL_NAMES = (
    Column("label", pa.string(), "a label of the union"),
    Column("embedding", "size", "neutral embedding of its name, of length 1"),
)
GOLDEN = (
    _ID,
    _TEXT,
    Column("target", "union", "probability of each label of the union; sums to 1"),
    Column(
        "weight",
        pa.float32(),
        "weight of the text in the student's loss; 0 where no teacher answers or seems to know it",
    ),
    Column("teacher", pa.string(), "the teacher with the highest score"),
    Column(
        "margin", pa.float32(), "best less second-best score; by a posterior, teachers of the same answer count as one"
    ),
    Column("scores", "teachers", "score of each teacher"),
)
TEACHER_TARGETS = Column("teacher_targets", "all_labels", "each teacher's own distribution, one after the other")
"""An extra column of golden tables whose loss compares the student with each teacher separately."""
TEACHER_FEATURES = Column("teacher_features", "all_features", "what each teacher's head reads, one after the other")
"""An extra column of golden tables whose loss aligns features."""
GOLD_TEXTS = (_ID, _TEXT, Column("label", pa.string(), "gold label"))
CORPUS_GOLD = (_ID, Column("label", pa.string(), "gold label"))


def names(columns: tuple[Column, ...]) -> list[str]:
    """The columns' names, in order."""
    return [column.name for column in columns]


def arrow_table(columns: tuple[Column, ...], values: Mapping[str, Any], **widths: int) -> pa.Table:
    """A table of these columns and no others.

    Args:
        columns: The table's columns, in order.
        values: Each column's Arrow array.
        widths: The width of each kind of vector, by the name that the columns use.

    Raises:
        ValueError: A column is missing or unknown.
        ArrowInvalid: An array has another type.
    """
    if values.keys() != set(names(columns)):
        raise ValueError(f"columns are {sorted(values)}, expected {sorted(names(columns))}")
    fields = [
        pa.field(column.name, vectors(column.number, widths[column.type]), nullable=False)
        if isinstance(column.type, str)
        else pa.field(column.name, column.type)
        for column in columns
    ]
    return pa.table([values[column.name] for column in columns], schema=pa.schema(fields))
