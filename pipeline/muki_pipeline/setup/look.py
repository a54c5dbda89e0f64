"""What a project can be made of: names of teachers, columns of texts, labels that may be one. Nothing is loaded."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import chain, combinations, count
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from muki_pipeline.blocks import AnyTeacher
from muki_pipeline.corpus.dialects import TEXT_NAMES
from muki_pipeline.corpus.formats import READERS
from muki_pipeline.errors import first_few, shortlist
from muki_pipeline.names import comparable

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SAMPLE = 2_000
_ALIKE = 0.9


@dataclass(frozen=True)
class FoundTeacher:
    """A classifier, or a file of answers, that can be a teacher.

    Attributes:
        name: Its name.
        labels: Its labels.
        settings: Its block of params.yaml.
        longest: Longest text that it reads, in tokens; None where it reads any length.
        tokenizer: Its tokenizer; None of a file of answers.
    """

    name: str
    labels: tuple[str, ...]
    settings: AnyTeacher
    longest: int | None = None
    tokenizer: "PreTrainedTokenizerBase | None" = None


@dataclass(frozen=True)
class LabelPair:
    """Labels of two teachers that may mean the same.

    Attributes:
        teachers: The two teachers.
        labels: The label of each.
    """

    teachers: tuple[str, str]
    labels: tuple[str, str]

    @property
    def is_shared(self) -> bool:
        """Whether the names are equal, so that they become one label."""
        return comparable(self.labels[0]) == comparable(self.labels[1])


def teacher_names(models: Sequence[str]) -> list[str]:
    """A name for each model: the last part of its path or id that says something, made unique."""
    names: list[str] = []
    for model in models:
        last = _telling_part(_without_ending(model).rstrip("/")).partition("@")[0].lower()
        plain = re.sub(r"[^a-z0-9_-]+", "-", last).strip("-_")[:60] or "teacher"
        candidates = chain([plain], (f"{plain}-{number}" for number in count(2)))
        names.append(next(name for name in candidates if name not in names))
    return names


def _without_ending(model: str) -> str:
    """A file of answers without what its format is called by."""
    plain = model.removesuffix(".gz")
    return next((plain.removesuffix(ending) for ending in READERS if plain.endswith(ending)), model)


def _telling_part(model: str) -> str:
    """Of `…/models--OWNER--NAME/snapshots/COMMIT` the name, of `NAME/checkpoint-500` too."""
    parts = model.split("/")
    if parts[-1].startswith("checkpoint-") and len(parts) > 1:
        return parts[-2]
    if len(parts) > 2 and parts[-2] == "snapshots":
        return parts[-3].rpartition("--")[2]
    return parts[-1]


def text_columns(frame: pl.DataFrame) -> list[str]:
    """Columns that may hold the texts: those with a usual name if there are any, else all with strings."""
    strings = [name for name, kind in frame.schema.items() if kind == pl.String]
    return [name for name in strings if name.lower() in TEXT_NAMES] or strings


def longest_first(frame: pl.DataFrame, names: Sequence[str]) -> list[str]:
    """Columns of strings, the one that holds most characters first: of several it is the likeliest to be the texts."""
    return sorted(names, key=lambda name: -int(frame[name].str.len_chars().sum()))


def label_columns(frame: pl.DataFrame, labels: Sequence[str]) -> list[str]:
    """Columns of which most values are labels that some teacher knows."""
    found, known = [], {comparable(label) for label in labels}
    for name in frame.columns:
        column = frame[name].drop_nulls()
        if (column.dtype == pl.String or column.dtype.is_integer()) and len(column):
            values = [comparable(value) for value in column.cast(pl.String)]
            if sum(value in known for value in values) > len(values) / 2:
                found.append(name)
    return found


def show_columns(frame: pl.DataFrame) -> str:
    """Each column with its first value, for a question or an error."""
    shown = frame.head(1).to_dict(as_series=False)
    return ", ".join(f"{name} ({shortlist([str(value)[:40] for value in values])})" for name, values in shown.items())


def sample(texts: pl.Series, count: int = SAMPLE) -> list[str]:
    """Texts evenly spread over a column."""
    rows = np.unique(np.linspace(0, len(texts) - 1, min(count, len(texts))).astype(int))
    return [str(text) for text in texts.gather(rows)]


@dataclass(frozen=True)
class Lengths:
    """The longest text in tokens, for each kind of network.

    Attributes:
        teachers: That the teachers read.
        student: That the student and the neutral encoder read.
    """

    teachers: int
    student: int


def pairs_of_labels(labels: Mapping[str, Sequence[str]]) -> list[LabelPair]:
    """Labels of different teachers with equal names, or with names that differ in little."""
    found = []
    for one, other in combinations(labels, 2):
        for mine in labels[one]:
            for theirs in labels[other]:
                if _alike(comparable(mine), comparable(theirs)):
                    found.append(LabelPair((one, other), (mine, theirs)))
    return found


@dataclass(frozen=True)
class PairedTeachers:
    """Two teachers some of whose labels may mean the same.

    Attributes:
        teachers: The two.
        is_shared: Whether the labels' names are equal, see `LabelPair`.
        count: How many such labels there are.
        labels: The first few of them, for a person.
    """

    teachers: tuple[str, str]
    is_shared: bool
    count: int
    labels: str

    @property
    def subject(self) -> str:
        """`1 label` or `2 labels`."""
        return f"{self.count:,} label{'s' if self.count > 1 else ''}"


def paired_teachers(pairs: Sequence[LabelPair]) -> list[PairedTeachers]:
    """Pairs of labels as pairs of teachers, those with equal names apart from the others: hundreds make two lines."""
    of_teachers: dict[tuple[tuple[str, str], bool], list[str]] = {}
    for pair in pairs:
        name = repr(pair.labels[0]) if pair.is_shared else " and ".join(map(repr, pair.labels))
        of_teachers.setdefault((pair.teachers, pair.is_shared), []).append(name)
    return [
        PairedTeachers(teachers, is_shared, len(names), first_few(names))
        for (teachers, is_shared), names in of_teachers.items()
    ]


def _alike(one: str, other: str) -> bool:
    first_words, second_words = (re.sub(r"[\W_]+", " ", name).strip().lower() for name in (one, other))
    if one == other or not (first_words and second_words):
        return one == other
    if first_words == second_words:
        return True
    matcher = SequenceMatcher(None, first_words, second_words)
    return matcher.quick_ratio() >= _ALIKE and matcher.ratio() >= _ALIKE
