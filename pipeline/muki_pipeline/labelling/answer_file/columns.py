"""Which columns of a file of answers say what, and their numbers."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from muki_pipeline.blocks import AnswerFile
from muki_pipeline.errors import choice, shortlist
from muki_pipeline.labelling.answer_file.place import Place
from muki_pipeline.labelling.answer_file.refusals import (
    TOLERANCE,
    refuse_cell,
    refuse_decimal_commas,
    refuse_nested,
)
from muki_pipeline.names import comparable

_PREFIXED = re.compile(r"((?:predicted )*)probability of (.*)", re.DOTALL)
_PREDICTED = re.compile(r"((?:predicted )+)label")
"""How `predict` names its columns: of a file that has such columns already, the new ones are predicted."""
_MOSTLY = 0.5
"""A column with so large a share of probabilities is meant as a label's: what else it holds is refused, not ignored."""
_USUAL_PROBABILITIES = ("score", "confidence")
"""Other names of the column `probability`, as pipelines of transformers and others write it."""


class Columns(NamedTuple):
    """What is read.

    Attributes:
        of_labels: For each label its column of probabilities; empty where a row gives one label.
        label: The column with one label; empty where each label has a column.
        probability: The column with that label's probability, if there is one.
    """

    of_labels: dict[str, str]
    label: str = ""
    probability: str | None = None


def find_columns(frame: pl.DataFrame, settings: AnswerFile, place: Place) -> Columns:
    """The columns that hold the answers.

    Args:
        frame: The file without the column that names the texts.
        settings: The teacher's block of params.yaml.
        place: The file, for messages.

    Raises:
        MukiError: There are none, or two readings are possible.
    """
    prefixed = _prefixed(frame.columns)
    if settings.labels is not None:
        named = {comparable(column): column for column in frame.columns}
        found = {label: prefixed.get(label) or named.get(label) for label in settings.labels}
        if all(found.values()):
            refuse_nested(frame, [str(column) for column in found.values()], place)
            return Columns({label: str(column) for label, column in found.items()})
    elif prefixed:
        return Columns(prefixed)
    label = _label_column(frame.columns, settings, place)
    refuse_nested(frame, [] if label is None else [label], place)
    if settings.labels is None and (numbers := _columns_of_numbers(frame, label, place)):
        return Columns(numbers)
    if label is not None:
        probability = _probability_column(frame.columns, label, settings)
        refuse_nested(frame, [] if probability is None else [probability], place)
        return Columns({}, label, probability)
    refuse_nested(frame, frame.columns, place)
    if settings.labels is not None:
        missing = [name for name, column in found.items() if column is None]
        what = f"has no column for the labels {shortlist(missing)}, and no column {settings.label!r} with one label"
        raise place.error(what, f"{choice(missing[0], frame.columns)}; correct {place.key('labels')} or label")
    refuse_decimal_commas(frame, place)
    what = f"has neither a column {settings.label!r} with one label nor a column of probabilities for each label"
    raise place.error(what, f"There is {shortlist(frame.columns, 12)}; set {place.key('label')} or labels")


def is_prefixed(column: str) -> bool:
    """Whether a column is called as `predict --all` calls the probabilities of a label."""
    return _PREFIXED.fullmatch(column) is not None


def _prefixed(columns: Sequence[str]) -> dict[str, str]:
    """For each label the column that `predict --all` wrote; of several such sets the last one."""
    found: dict[str, dict[str, str]] = {}
    for column in columns:
        if match := _PREFIXED.fullmatch(column):
            found.setdefault(match[1], {})[comparable(match[2])] = column
    return found[max(found, key=len)] if found else {}


def _label_column(columns: Sequence[str], settings: AnswerFile, place: Place) -> str | None:
    """The column with one label, if there is one.

    Raises:
        MukiError: Two columns may be meant, and the settings do not choose.
    """
    predicted = max((column for column in columns if _PREDICTED.fullmatch(column)), key=len, default=None)
    if predicted is None or "label" in settings.model_fields_set:
        return settings.label if settings.label in columns else None
    if settings.label in columns:
        what = f"has the columns {settings.label!r} and {predicted!r}: which of them are the answers is not known"
        raise place.error(
            what, f"Set {place.key('label')} to {predicted!r}, which predict wrote, or to {settings.label!r}"
        )
    return predicted


def _probability_column(columns: Sequence[str], label: str, settings: AnswerFile) -> str | None:
    """The column with the probability of a label, if there is one: beside a predicted label a predicted one."""
    match = _PREDICTED.fullmatch(label)
    own = f"{match[1]}probability" if match and "probability" not in settings.model_fields_set else settings.probability
    usual = () if match else _USUAL_PROBABILITIES
    return next((name for name in (own, *usual) if name in columns), None)


def _columns_of_numbers(frame: pl.DataFrame, label: str | None, place: Place) -> dict[str, str]:
    """For each label its column of numbers, a few of whose cells may be none; empty where there are no such columns.

    Raises:
        MukiError: Most labels of the column of labels have a column of numbers, and some have none.
    """
    numbers = {
        comparable(name): name for name in frame.columns if _is_meant(frame[name]) and not _is_index(frame[name])
    }
    if label is None:
        return numbers if len(numbers) > 1 else {}
    # The usual layout of pandas: the best label, and a column of probabilities for each.
    given = {comparable(str(value)) for value in frame[label].drop_nulls().unique()} - {""}
    folded = {name.casefold() for name in numbers}
    alike = [name for name in given if name.casefold() in folded]
    if len(alike) < 2 or len(alike) <= len(given) / 2:
        return {}
    if missing := sorted(given - {*numbers}):
        what = (
            f"column {label!r} holds {shortlist(missing)}, of which there is no column of probabilities, but of others"
        )
        fix = f"Call column and label alike, leave the cell empty where no label fits, or list {place.key('labels')}"
        raise place.error(what, fix)
    return {name: column for name, column in numbers.items() if name in given}


def _is_index(column: pl.Series) -> bool:
    """Whether a column of no name, as pandas writes it, or an id numbers the rows."""
    is_named = column.name.lower() not in ("", "index", "id") and not column.name.startswith(("column ", "Unnamed"))
    if is_named:
        return False
    numbers = column.cast(pl.Int64, strict=False)
    return bool((numbers - pl.int_range(len(numbers), eager=True)).n_unique() == 1)


def _is_meant(column: pl.Series) -> bool:
    """Whether a column holds numbers alone, or mostly probabilities."""
    filled = _without_blanks(column).drop_nulls()
    numbers = _numbers(filled)
    is_probable = ~_is_rejected(filled, numbers)
    return bool(len(filled)) and (numbers.null_count() == 0 or bool(is_probable.mean() >= _MOSTLY))


def probabilities(
    frame: pl.DataFrame, names: Sequence[str], place: Place, *, are_found: bool = False
) -> NDArray[np.float64]:
    """Columns of numbers from 0 to 1, `[rows, names]`; NaN where a cell is empty.

    Args:
        frame: The file.
        names: The columns.
        place: The file, for the message.
        are_found: Whether nobody named these columns, so that one of them may be something else.

    Raises:
        MukiError: A cell holds something else; of several, it names the first in the file's order.
    """
    columns = [_without_blanks(frame[name]) for name in names]
    numbers = [_numbers(column) for column in columns]
    rejected = np.stack([_is_rejected(*each) for each in zip(columns, numbers, strict=True)], axis=1)
    if rejected.any():
        row, number = divmod(int(rejected.argmax()), len(names))  # row by row, as a person reads
        refuse_cell(columns[number], row, place, may_be_no_label=are_found)
    return np.stack([each.fill_null(np.nan).to_numpy() for each in numbers], axis=1)


def _without_blanks(column: pl.Series) -> pl.Series:
    """Strings without blanks around them; null where nothing else is there."""
    return column.str.strip_chars().replace("", None) if column.dtype == pl.String else column


def _numbers(column: pl.Series) -> pl.Series:
    """Its numbers; null where there is none."""
    is_read = column.dtype == pl.String or column.dtype.is_numeric()
    return column.cast(pl.Float64, strict=False) if is_read else pl.Series([None] * len(column), dtype=pl.Float64)


def _is_rejected(column: pl.Series, numbers: pl.Series) -> NDArray[np.bool_]:
    """`[rows]`, whether a cell holds something and that is no probability."""
    is_outside = ~numbers.is_between(0, 1 + TOLERANCE).fill_null(True) | numbers.is_nan().fill_null(False)
    return ((numbers.is_null() & column.is_not_null()) | is_outside).to_numpy()
