"""Files of answers that would be read as something else than what was meant."""

import re
from collections.abc import Iterable
from typing import NoReturn

import numpy as np
import polars as pl
from numpy.typing import NDArray

from muki_pipeline.errors import shortlist
from muki_pipeline.labelling.answer_file.place import Place

TOLERANCE = 1e-3
"""Of the sum of a text's probabilities."""
_MANY, _MANY_SHARE = 20, 0.1
"""So many texts with several rows, and so large a share of all texts, that their labels are no chance."""
_NEARLY_ALL = 0.95
_NUMBER = r"^\s*[01]?(,\d+)?([eE][+-]?\d+)?\s*$"


def refuse_decimal_commas(frame: pl.DataFrame, place: Place) -> None:
    """Refuse numbers as a spreadsheet writes them in much of Europe.

    Raises:
        MukiError: A column holds nothing but such numbers; it names the cell.
    """
    for column in frame.select(pl.col(pl.String)).iter_columns():
        filled = column.drop_nulls().filter(column.drop_nulls().str.strip_chars() != "")
        if len(filled) and filled.str.contains(_NUMBER).all() and filled.str.contains(",").any():
            refuse_cell(column, int(column.str.contains(",").fill_null(False).arg_true()[0]), place)


def refuse_cell(column: pl.Series, row: int, place: Place) -> NoReturn:
    """Refuse a cell that is no probability.

    Raises:
        MukiError: Always; it names the cell.
    """
    what = f"row {row + 1}, column {column.name!r} holds {column[row]!r}"
    if isinstance(column[row], str) and "," in column[row] and re.fullmatch(_NUMBER, column[row]):
        fix = "Write it with a point, as in 0.5"
        raise place.error(f"{what}, a number with a decimal comma", fix)
    fix = "Write numbers from 0 to 1, and leave cells without an answer empty"
    raise place.error(f"{what}, which is no probability", fix)


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
    """Refuse labels that differ in upper and lower case alone: whoever answered meant one.

    Args:
        labels: Their names as the union compares them, see `names.comparable`.
        place: The file, for the message.

    Raises:
        MukiError: There are such labels, and the settings do not list the labels.
    """
    variants = (
        pl.DataFrame({"label": labels.drop_nulls()}).unique().group_by(pl.col("label").str.to_lowercase().alias("same"))
    )
    for alike in variants.agg(pl.col("label").sort()).filter(pl.col("label").list.len() > 1).sort("same")["label"]:
        what = f"has the labels {shortlist(alike.to_list())}, which differ in case alone"
        raise place.error(what, f"Write them alike, or list the labels in {place.key('labels')}")


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
