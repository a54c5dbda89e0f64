"""Files of answers that would be read as something else than what was meant."""

import re
from collections.abc import Iterable
from typing import NoReturn

import numpy as np
import polars as pl
from numpy.typing import NDArray

from muki_pipeline.labelling.answer_file.place import Place

TOLERANCE = 1e-3
"""Of the sum of a text's probabilities."""
_MANY, _MANY_SHARE = 20, 0.1
"""So many texts with several rows, and so large a share of all texts, that their labels are no chance."""
_NEARLY_ALL = 0.95
_QUOTED = 80
_AROUND = " \t\n_.,;:!?*\"'`\u00b4()[]{}" + "".join(map(chr, (*range(0x2018, 0x2020), 0xAB, 0xBB, 0x2039, 0x203A)))
"""Blanks, punctuation and quotes; not what tells labels apart: +, -, #, <, >, %."""
_NUMBER = r"^\s*[01]?(,\d+)?([eE][+-]?\d+)?\s*$"


_FLAT = '{"text": "...", "label": "a", "probability": 0.9} or {"text": "...", "a": 0.9, "b": 0.1}'
"""What a row of answers looks like."""


def refuse_decimal_commas(frame: pl.DataFrame, place: Place) -> None:
    """Refuse numbers as a spreadsheet writes them in much of Europe.

    Raises:
        MukiError: A column holds nothing but such numbers; it names the cell.
    """
    found = []
    for number, column in enumerate(frame.select(pl.col(pl.String)).iter_columns()):
        filled = column.drop_nulls().filter(column.drop_nulls().str.strip_chars() != "")
        if len(filled) and filled.str.contains(_NUMBER).all() and filled.str.contains(",").any():
            found.append((int(column.str.contains(",").fill_null(False).arg_true()[0]), number, column))
    if found:
        row, _, column = min(found, key=lambda each: each[:2])
        refuse_cell(column, row, place)


def refuse_cell(column: pl.Series, row: int, place: Place, *, may_be_no_label: bool = False) -> NoReturn:
    """Refuse a cell that is no probability.

    Args:
        column: Its column.
        row: Its row, from 0.
        place: The file, for the message.
        may_be_no_label: Whether the column may be something else, since nobody has listed the labels.

    Raises:
        MukiError: Always; it names the cell.
    """
    value = column.slice(row, 1).to_list()[0]
    what = f"row {row + 1}, column {column.name!r} holds {value!r:.{_QUOTED}}"
    other = f"; if {column.name!r} is no label, list the labels in {place.key('labels')}" if may_be_no_label else ""
    if isinstance(value, str) and "," in value and re.fullmatch(_NUMBER, value):
        fix = "Write it with a point, as in 0.5"
        raise place.error(f"{what}, a number with a decimal comma", fix + other)
    fix = "Write numbers from 0 to 1, and leave cells without an answer empty"
    raise place.error(f"{what}, which is no probability", fix + other)


def refuse_nested(frame: pl.DataFrame, names: Iterable[str], place: Place) -> None:
    """Refuse objects and lists where a column of single values is wanted.

    Args:
        frame: The file.
        names: Columns that are looked at.
        place: The file, for the message.

    Raises:
        MukiError: There are some; it names the first in the file's order, and shows what is wanted.
    """
    nested = [frame[name] for name in names if frame[name].dtype.is_nested() and frame[name].null_count() < len(frame)]
    if nested:
        row, number = min((int(column.is_not_null().arg_true()[0]), at) for at, column in enumerate(nested))
        value = nested[number].slice(row, 1).to_list()[0]
        what = f"row {row + 1}, column {nested[number].name!r} holds {value!r:.{_QUOTED}}, which is not one value"
        raise place.error(what, f"Write each answer flat: {_FLAT}; {place.key('label')} or labels name other columns")


def refuse_zeros(frame: pl.DataFrame, columns: Iterable[str], place: Place) -> None:
    """Refuse a column of numbers that might be a label's and is 0 everywhere, where nobody has listed the labels.

    Raises:
        MukiError: There is one.
    """
    for name in columns:
        if (frame[name].cast(pl.Float64, strict=False).fill_null(0.0) == 0.0).all():
            what = f"column {name!r} is 0 in every row, so it may be a label or something else"
            raise place.error(what, f"List the labels in {place.key('labels')}, with it or without it")


def refuse_variants(labels: pl.Series, place: Place) -> None:
    """Refuse labels that differ only in how they are written: whoever answered meant one.

    Args:
        labels: `[rows]`, as the union compares them, see `names.comparable`; null where there is none.
        place: The file, for the message.

    Raises:
        MukiError: There are such labels, and the settings do not list the labels.
    """
    frame = pl.DataFrame({"label": labels}).with_row_index("row", 1).drop_nulls("label")
    found = frame.group_by("label").agg(pl.len(), pl.col("row").min()).sort("len", "label", descending=[True, False])
    variants: dict[str, list[str]] = {}
    for label, rows, first in found.iter_rows():
        named = f"{label!r} ({rows:,} {'rows' if rows > 1 else 'row'}, first in row {first})"
        variants.setdefault(_plain(label), []).append(named)
    several = [each for each in variants.values() if len(each) > 1]
    if several:
        what = f"has the labels {', '.join(several[0])}, which differ in case, punctuation or blanks alone"
        what += f" ({len(several)} labels have such variants)" if len(several) > 1 else ""
        raise place.error(what, f"Write them alike, or list the labels in {place.key('labels')}")


def _plain(label: str) -> str:
    """A label without what writers vary: case, quotes and punctuation around it, blanks, `_` and `-` between words."""
    words = re.sub(r"(?<=\w)[\s_-]+(?=\w)", " ", label.casefold())
    return words.strip(_AROUND) or label


def refuse_spread(
    keys: pl.Series, columns: NDArray[np.intp], chosen: NDArray[np.float64], is_answer: NDArray[np.bool_], place: Place
) -> None:
    """Refuse a distribution that is spread over rows, one for each label: read as samples it would mean another one.

    Args:
        keys: What each row names its text by.
        columns: `[rows]`, the number of its label.
        chosen: `[rows]`, its probability; 0 where there is none.
        is_answer: `[rows]`.
        place: The file, for the message.

    Raises:
        MukiError: In hardly any text with several rows a label is repeated, and that is no chance: there are many such
            texts, or most texts are such and have three rows or more, or probabilities that sum to 1 or less.
    """
    rows = pl.DataFrame({"key": keys, "label": columns, "chosen": chosen}).filter(pl.Series(is_answer))
    # A text that is asked about twice has each of its labels twice.
    of_label = rows.group_by("key", "label").agg(pl.len(), pl.col("chosen").mean())
    of_text = of_label.group_by("key").agg(
        rows=pl.col("len").sum(),
        is_spread=(pl.len() > 1) & (pl.col("len").n_unique() == 1) & (pl.col("chosen").sum() <= 1 + TOLERANCE),
        chosen=pl.col("chosen").sum(),
    )
    several = of_text.filter(pl.col("rows") > 1)
    is_telling = bool((several["chosen"] > 0).any()) or bool((several["rows"] > 2).any())
    are_most = 2 * len(several) > len(of_text) and is_telling
    are_many = len(several) >= _MANY and len(several) >= _MANY_SHARE * len(of_text)
    spread = int(several["is_spread"].sum())
    if (are_most or are_many) and spread and spread >= _NEARLY_ALL * len(several):
        what = f"gives {spread:,} of its {len(of_text):,} texts several labels, a row each: "
        what += "these are no samples, which would repeat some"
        raise place.error(what, "Give each label a column of probabilities (a pivot), and each text a row")
