"""A file of answers, read and checked: whose text each row answers, and with which distribution over the labels."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from muki_pipeline.blocks import AnswerFile
from muki_pipeline.corpus.dialects import Dialect
from muki_pipeline.corpus.formats import read_table
from muki_pipeline.corpus.readers import strings
from muki_pipeline.errors import MukiError, choice, shortlist
from muki_pipeline.labelling.answer_file.refusals import (
    TOLERANCE,
    refuse_cell,
    refuse_decimal_commas,
    refuse_spread,
    refuse_variants,
    refuse_zeros,
)
from muki_pipeline.names import comparable

ID = "id"
_PREFIX = "probability of "
"""How `predict --all` names the columns of probabilities."""
_FLOAT, _ROUNDED = 1e-9, 0.05
_NAMED = 20
_USUAL_PROBABILITIES = ("score", "confidence")
"""Other names of the column `probability`, as pipelines of transformers and others write it."""
_MANY_LABELS, _ROWS_A_LABEL = 50, 5
"""A file with more labels than the first, and fewer rows for each than the second, does not hold labels."""


@dataclass(frozen=True)
class Answers:
    """The rows of a file of answers.

    Attributes:
        labels: The teacher's labels.
        by: What a row names its text by: `text`, or `id`.
        keys: `[rows]`, that text or id.
        probs: Some rows' numbers -> their distributions `[rows, labels]`, each row sums to 1.
        is_answer: `[rows]`, whether a row says anything; the others have no distribution.
        unknown: How often the most frequent labels occur that are none of the teacher's.
        unknown_rows: How many rows have such a label.
        has_samples: Whether every text has several answers, some of which differ: they are samples, as passes are.
        single: Where most texts have several answers, how many have only one: they are what `has_samples` lacks.
    """

    labels: tuple[str, ...]
    by: str
    keys: pl.Series
    probs: Callable[[NDArray[np.intp]], NDArray[np.float64]]
    is_answer: NDArray[np.bool_]
    unknown: dict[str, int]
    unknown_rows: int
    has_samples: bool
    single: int


class _Samples(NamedTuple):
    """See `Answers.has_samples` and `Answers.single`."""

    are_there: bool
    single: int


class _Content(NamedTuple):
    """What the columns of answers say: `unknown` are labels of others, `same` is equal in rows of equal answers."""

    labels: tuple[str, ...]
    probs: Callable[[NDArray[np.intp]], NDArray[np.float64]]
    is_answer: NDArray[np.bool_]
    unknown: pl.Series
    same: pl.Series


def read_answers(settings: AnswerFile, root: Path) -> Answers:
    """The answers in a teacher's file.

    Args:
        settings: The teacher's block of params.yaml.
        root: What a relative path is relative to.

    Raises:
        MukiError: The file is missing, unreadable or empty; no column names the texts; labels are missing; a number
            is none, is outside 0 to 1, or the probabilities of a row do not sum to 1 (with the row).
    """
    path = answer_path(settings, root)
    frame = read_table(path, dialect=Dialect(settings.delimiter, settings.quote, settings.header))
    named = settings.labels or []
    if twice := sorted({label for label in named if named.count(label) > 1}):
        raise MukiError(f"is given the label {twice[0]!r} twice", where=str(path), fix="Correct teachers.NAME.labels")
    if frame.is_empty():
        raise MukiError("holds no answers", where=str(path), fix="Name a file with rows")
    by, keys = _keys(frame, settings, path)
    others = frame.drop(settings.text if by == "text" else ID)
    columns = _columns_of_labels(others, settings, path)
    content = _one_label(others, keys, settings, path) if columns is None else _every_label(others, columns, path)
    if columns is not None and settings.labels is None:
        refuse_zeros(others, [name for name in columns.values() if not name.startswith(_PREFIX)], path)
    if "" in content.labels:
        raise MukiError("has a column for a label without a name", where=str(path), fix="Rename that column")
    if len(content.labels) < 2:
        what = f"names only the labels {list(content.labels)}, so it chooses nothing"
        raise MukiError(what, where=str(path), fix="Give its labels, at least two, in teachers.NAME.labels")
    samples = _samples(keys, content)
    return Answers(
        labels=content.labels,
        by=by,
        keys=keys,
        probs=content.probs,
        is_answer=content.is_answer,
        unknown=dict(content.unknown.value_counts(sort=True).head(_NAMED).iter_rows()),
        unknown_rows=len(content.unknown),
        has_samples=samples.are_there,
        single=samples.single,
    )


def answer_path(settings: AnswerFile, root: Path) -> Path:
    """Where a file of answers lies.

    Raises:
        MukiError: There is none.
    """
    path = root / Path(settings.answers).expanduser()
    if not path.is_file():
        raise MukiError("no such file of answers", where=str(path), fix=f"Correct answers; it is relative to {root}")
    return path


def _keys(frame: pl.DataFrame, settings: AnswerFile, path: Path) -> tuple[str, pl.Series]:
    """What rows name their text by: the text, or the corpus's id where no column of texts is named."""
    is_named = "text" in settings.model_fields_set
    column = settings.text if is_named or settings.text in frame.columns else ID
    if column not in frame.columns:
        what = f"has no column {settings.text!r} with the texts"
        what += "" if is_named else f", and no column {ID!r} with ids of the corpus"
        fix = (
            f"{choice(settings.text, frame.columns)}; name it by init --set NAME.text=COLUMN, or in teachers.NAME.text"
        )
        raise MukiError(what, where=str(path), fix=fix)
    if column == ID and frame[ID].dtype != pl.String:
        what = f"its column {ID} holds {frame[ID].dtype}, not the ids of data/corpus"
        raise MukiError(what, where=str(path), fix="Write the texts in a column text, or the corpus's own ids")
    keys = frame.select(strings(frame, column, str(path), is_text=True)).to_series()
    if keys.null_count():
        row = keys.is_null().arg_true()[0] + 1
        what = f"column {column} is empty in {keys.null_count()} rows, first in row {row}"
        raise MukiError(what, where=str(path), fix="Drop these rows")
    return ("text" if column == settings.text else ID), one_line_end(keys)


def one_line_end(texts: pl.Series) -> pl.Series:
    """Texts with one kind of line end: spreadsheets write another one than they were given."""
    return texts.str.replace_all("\r\n?", "\n")


def _columns_of_labels(frame: pl.DataFrame, settings: AnswerFile, path: Path) -> dict[str, str] | None:
    """For each label its column of probabilities; None where a row gives one label."""
    named = {comparable(column): column for column in frame.columns}
    is_one_label = settings.label in frame.columns
    if settings.labels is not None:
        found = {label: named.get(_PREFIX + label) or named.get(label) for label in settings.labels}
        if all(found.values()):
            return {label: str(column) for label, column in found.items()}
        if is_one_label:
            return None
        missing = [label for label, column in found.items() if column is None]
        what = f"has no column for the labels {shortlist(missing)}, and no column {settings.label!r} with one label"
        raise MukiError(what, where=str(path), fix=f"{choice(missing[0], frame.columns)}; correct labels or label")
    if prefixed := {comparable(name[len(_PREFIX) :]): name for name in frame.columns if name.startswith(_PREFIX)}:
        return prefixed
    numbers = {
        comparable(name): name for name in frame.columns if _is_numeric(frame[name]) and not _is_index(frame[name])
    }
    if is_one_label:
        # The usual layout of pandas: the best label, and a column of probabilities for each.
        given = {comparable(str(value)) for value in frame[settings.label].drop_nulls().unique()}
        return (
            {name: numbers[name] for name in numbers if name in given}
            if len(given) > 1 and given <= {*numbers}
            else None
        )
    if len(numbers) < 2:
        refuse_decimal_commas(frame, path)
        what = f"has neither a column {settings.label!r} with one label nor a column of probabilities for each label"
        raise MukiError(what, where=str(path), fix=f"There is {shortlist(frame.columns, 12)}; set label or labels")
    return numbers


def _is_index(column: pl.Series) -> bool:
    """Whether a column of no name numbers the rows, as pandas writes it."""
    if not (column.name.startswith("column ") or column.name in ("", "index") or column.name.startswith("Unnamed")):
        return False
    numbers = column.cast(pl.Int64, strict=False)
    return bool((numbers - pl.int_range(len(numbers), eager=True)).n_unique() == 1)


def _is_numeric(column: pl.Series) -> bool:
    filled = column.drop_nulls()
    if filled.dtype == pl.String:
        filled = filled.filter(filled.str.strip_chars() != "")
        return bool(len(filled)) and filled.cast(pl.Float64, strict=False).null_count() == 0
    return bool(len(filled)) and filled.dtype.is_numeric()


def _numbers(frame: pl.DataFrame, name: str, path: Path) -> NDArray[np.float64]:
    """A column of numbers from 0 to 1; NaN where it is empty.

    Raises:
        MukiError: A value is something else, with its row.
    """
    column = frame[name]
    if column.dtype == pl.String:
        column = column.str.strip_chars().replace("", None)
    elif not (column.dtype.is_numeric() or column.dtype == pl.Null):
        what = f"column {name} holds {column.dtype}, which are no probabilities"
        raise MukiError(what, where=str(path), fix="Write numbers from 0 to 1, or name the labels in labels")
    numbers = column.cast(pl.Float64, strict=False)
    rejected = (numbers.is_null() & column.is_not_null()) | ~numbers.is_between(0, 1 + TOLERANCE).fill_null(True)
    rejected |= numbers.is_nan().fill_null(False)
    if rejected.any():
        refuse_cell(column, int(rejected.arg_true()[0]), path)
    return numbers.fill_null(np.nan).to_numpy()


def _every_label(frame: pl.DataFrame, columns: dict[str, str], path: Path) -> _Content:
    """A column of probabilities for each label."""
    values = np.stack([_numbers(frame, column, path) for column in columns.values()], axis=1)
    is_empty = np.isnan(values)
    is_answer = np.asarray(~is_empty.all(axis=1))
    sums = values.sum(axis=1)
    fix = f"Its columns of labels are {shortlist(list(columns.values()), 12)}; if others are meant, name them in labels"
    if (halves := is_empty.any(axis=1) & is_answer).any():
        what = f"row {halves.argmax() + 1} has probabilities for some labels and none for others"
        raise MukiError(what, where=str(path), fix=f"Give all of them or none. {fix}")
    if (wrong := is_answer & ~(np.abs(sums - 1) <= TOLERANCE + _FLOAT)).any():
        row = int(wrong.argmax())
        what = f"the probabilities of row {row + 1} sum to {sums[row]:.4g}, not to 1 ({wrong.sum():,} such rows)"
        is_rounded = np.abs(sums[is_answer] - 1).max() < _ROUNDED
        fix = "Write more digits, or divide each row by its sum" if is_rounded else fix
        raise MukiError(what, where=str(path), fix=fix)
    values /= sums[:, None]
    same = frame.select(pl.struct(list(columns.values())).hash()).to_series()
    return _Content(tuple(columns), lambda rows: values[rows], is_answer, pl.Series([], dtype=pl.String), same)


def _one_label(frame: pl.DataFrame, keys: pl.Series, settings: AnswerFile, path: Path) -> _Content:
    """One label a row, with its probability where there is such a column."""
    given = frame.select(strings(frame, settings.label, str(path), is_text=False)).to_series()
    distinct = given.drop_nulls().unique()
    plain = [comparable(each) or None for each in distinct]
    names = given.replace_strict(distinct, plain, default=None, return_dtype=pl.String)
    if settings.labels is None:
        refuse_variants(pl.Series(plain, dtype=pl.String).drop_nulls(), path)
    labels = tuple(settings.labels) if settings.labels is not None else tuple(names.drop_nulls().unique().sort())
    places = {label: place for place, label in enumerate(labels)}
    columns = np.array([places.get(name, -1) for name in names], dtype=np.intp)
    is_answer = columns >= 0
    unknown = names.filter(pl.Series(~is_answer) & names.is_not_null())
    if settings.labels is None and len(labels) > max(_MANY_LABELS, len(names) / _ROWS_A_LABEL):
        values = f"{len(labels):,} values in {len(names):,} rows, say {shortlist(list(labels))}"
        what = f"column {settings.label} holds {values}"
        raise MukiError(what, where=str(path), fix="If they are labels, list them in teachers.NAME.labels")
    chosen = np.ones(len(names))
    usual = [name for name in _USUAL_PROBABILITIES if name in frame.columns]
    probability = settings.probability if settings.probability in frame.columns else next(iter(usual), None)
    if probability is None:
        refuse_spread(keys, columns, np.zeros(len(names)), is_answer, path)
    if probability is not None:
        chosen = _numbers(frame, probability, path)
        if (bare := is_answer & np.isnan(chosen)).any():
            what = f"row {bare.argmax() + 1} has a label and no probability"
            raise MukiError(what, where=str(path), fix="Give the probability, or leave out that column")
        refuse_spread(keys, columns, chosen, is_answer, path)
        chosen = np.clip(chosen, 1 / max(len(labels), 1), 1.0)  # less than chance would speak for the other labels

    def probs(rows: NDArray[np.intp]) -> NDArray[np.float64]:
        rest = (1 - chosen[rows]) / max(len(labels) - 1, 1)
        result = np.repeat(rest[:, None], len(labels), axis=1)
        result[np.arange(len(rows)), columns[rows]] = chosen[rows]
        return result

    same = pl.DataFrame({"label": columns, "chosen": chosen}).select(pl.struct("label", "chosen").hash()).to_series()
    return _Content(labels, probs, is_answer, unknown, same)


def _samples(keys: pl.Series, content: _Content) -> _Samples:
    rows = pl.DataFrame({"key": keys, "same": content.same}).filter(pl.Series(content.is_answer))
    of_text = rows.group_by("key").agg(pl.len(), distinct=pl.col("same").n_unique())
    single, differ = int((of_text["len"] == 1).sum()), bool((of_text["distinct"] > 1).any())
    are_most = differ and 2 * single < len(of_text)
    return _Samples(are_most and not single, single if are_most else 0)


def describe(answers: Sequence[str], limit: int = 3) -> str:
    """The first few texts, each cut, for a message."""
    return shortlist([each[:60] for each in answers], limit)
