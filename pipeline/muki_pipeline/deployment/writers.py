"""Tables as files for people and other programs: CSV, TSV, JSON Lines, Excel, Parquet."""

from collections.abc import Callable
from importlib import import_module
from io import BytesIO
from pathlib import Path

import polars as pl
from polars.datatypes import DataTypeClass

from muki_pipeline.errors import MukiError, needs_package
from muki_pipeline.store import files
from muki_pipeline.store.columns import parquet_bytes, spreadsheet_csv

_SIMPLE = (pl.String, pl.Boolean, pl.Categorical, pl.Enum, pl.Date, pl.Datetime, pl.Time, pl.Decimal, pl.Null)
_NESTED = (pl.List, pl.Struct, pl.Array)
_MOST_ROWS, _LONGEST_CELL = 1_048_575, 32_767
"""Of a sheet, without its header."""


def _json_lines(table: pl.DataFrame) -> bytes:
    return table.write_ndjson().encode()


def _tabs(table: pl.DataFrame) -> bytes:
    return spreadsheet_csv(table, "\t")


def _excel(table: pl.DataFrame) -> bytes:
    """One sheet, in which no text can become a formula or a link."""
    content = BytesIO()
    options = {"strings_to_formulas": False, "strings_to_urls": False}
    with import_module("xlsxwriter").Workbook(content, options) as book:
        table.write_excel(book, autofit=False)
    return content.getvalue()


WRITERS: dict[str, Callable[[pl.DataFrame], bytes]] = {
    ".parquet": parquet_bytes,
    ".csv": spreadsheet_csv,
    ".tsv": _tabs,
    ".jsonl": _json_lines,
    ".xlsx": _excel,
}
"""How a file is written, by its ending."""


def check_writable(table: pl.DataFrame, target: Path) -> None:
    """Make sure, before there is any work, that a table can be written to a file.

    Raises:
        MukiError: No format has this ending, or it cannot hold one of the columns.
    """
    kind = target.suffix.lower()
    if kind not in WRITERS:
        raise MukiError("is no known kind of file", where=str(target), fix=f"Use {', '.join(WRITERS)}")
    if kind == ".xlsx":
        needs_package("xlsxwriter", "excel", str(target))
        _check_sheet(table, target)
    if unfit := [column for column in table.get_columns() if not _fits(column.dtype, kind)]:
        what = f"column {unfit[0].name} holds {unfit[0].dtype}, which a {kind} file cannot hold"
        raise MukiError(what, where=str(target), fix="Write a .parquet file, or leave the column out of the source")


def _check_sheet(table: pl.DataFrame, target: Path) -> None:
    texts = table.select(pl.col(pl.String).str.len_chars().max())
    longest = max((length or 0 for length in texts.row(0)), default=0) if texts.width else 0
    if len(table) > _MOST_ROWS or longest > _LONGEST_CELL:
        what = f"holds {_MOST_ROWS:,} rows and {_LONGEST_CELL:,} characters in a cell at most"
        raise MukiError(what, where=str(target), fix="Write a .csv or .parquet file")


def _fits(dtype: pl.DataType | DataTypeClass, kind: str) -> bool:
    if kind == ".parquet":
        return not isinstance(dtype, pl.Object)
    if kind == ".jsonl" and isinstance(dtype, _NESTED):
        inner = [field.dtype for field in dtype.fields] if isinstance(dtype, pl.Struct) else [dtype.inner]
        return all(_fits(each, kind) for each in inner)
    return dtype.is_numeric() or isinstance(dtype, _SIMPLE)


def write_table(table: pl.DataFrame, target: Path) -> None:
    """Write a table in the format that the target's ending names; see `check_writable`."""
    files.write_bytes(target, WRITERS[target.suffix.lower()](table))
