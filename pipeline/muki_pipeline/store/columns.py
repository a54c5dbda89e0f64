"""Arrow columns as arrays and back."""

from io import BytesIO

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray


def fixed_size_lists(rows: NDArray[np.floating]) -> pa.FixedSizeListArray:
    """A `[rows, width]` array as a column that polars reads as `pl.Array`."""
    numbers = pa.array(np.ascontiguousarray(rows).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(numbers, type=vectors(numbers.type, rows.shape[1]))


def vectors(number: pa.DataType, width: int) -> pa.DataType:
    """The type of a column of vectors. No number may be null: Parquet files are then read in two thirds of the time."""
    return pa.list_(pa.field("element", number, nullable=False), width)


def matrix(column: pa.ChunkedArray) -> NDArray[np.float32]:
    """The inverse of `fixed_size_lists`: `[rows, width]`, without a copy if the column is a single chunk."""
    lists = column.combine_chunks()
    values: NDArray[np.float32] = lists.flatten().to_numpy(zero_copy_only=False)
    return values.reshape(len(lists), lists.type.list_size)


def series(column: pa.ChunkedArray) -> pl.Series:
    """A column as a polars series, without a copy."""
    return pl.Series(pl.from_arrow(column))


def frame(table: pa.Table) -> pl.DataFrame:
    """A table as a polars frame, without a copy."""
    return pl.DataFrame(pl.from_arrow(table))


def arrow(frame: pl.DataFrame) -> pa.Table:
    """A polars frame as a table of plain Arrow types (`string`, not polars's string views)."""
    return frame.to_arrow(compat_level=pl.CompatLevel.oldest())


QUOTED = r"^'([=+\-@\t\r\n])"
"""What `spreadsheet_csv` makes of the beginning of some texts, as a pattern; its group is how they began before."""


def spreadsheet_csv(table: pl.DataFrame, separator: str = ",") -> bytes:
    """A table as a CSV file in which no text can become a formula: spreadsheets run what begins with =, +, - or @."""
    texts = [name for name, kind in table.schema.items() if kind == pl.String]
    dangerous = pl.col(texts).str.contains(r"^[=+\-@\t\r]")
    return (
        table.with_columns(pl.when(dangerous).then("'" + pl.col(texts)).otherwise(pl.col(texts)).name.keep())
        .write_csv(separator=separator)
        .encode()
    )


def parquet_bytes(table: pl.DataFrame) -> bytes:
    """A frame as the content of a Parquet file."""
    content = BytesIO()
    table.write_parquet(content)
    return content.getvalue()
