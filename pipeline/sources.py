"""Text sources (a file, a file of a Python package, a data set of the hub) -> texts and labels, checked."""

from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import references
from pipeline.config import Source
from pipeline.errors import MukiError

# Tabs separate, quotes are text: how TSV corpora are written. Orange's .tab has two more header lines.
_TABULATED = {".tsv": 0, ".tab": 2}


def read_source(source: Source, root: Path) -> pl.DataFrame:
    """The texts of a source in its own order, checked.

    Args:
        source: Where they are, and which columns hold text and label.
        root: What relative paths are relative to.

    Returns:
        Columns `text` and, where the source names a label column, `label`; strings without nulls.

    Raises:
        MukiError: The source is missing, unreadable or empty; a column is missing; a text or label is null or not
            UTF-8 (with its row).
    """
    path = references.local(source.source, root)
    if path is None and references.looks_like_path(source.source):
        raise MukiError("no such file", where=source.source, fix=f"Correct the path; it is relative to {root}")
    frame = _from_hub(source) if path is None else _from_file(path)
    where = source.source
    columns = {"text": source.text} | ({"label": source.label} if source.label else {})
    if missing := [name for name in columns.values() if name not in frame.columns]:
        raise MukiError(
            f"has no column {missing}, but {frame.columns}", where=where, fix="Name the columns under prepare"
        )
    frame = frame.select(pl.col(name).alias(role) for role, name in columns.items())
    for role, name in columns.items():
        if frame[role].dtype != pl.String:
            if role == "text":
                raise MukiError(f"column {name} holds {frame[role].dtype}, not text", where=where, fix="Name another")
            frame = frame.with_columns(pl.col(role).cast(pl.String))
        if frame[role].null_count():
            rows = frame[role].is_null().arg_true() + 1
            raise MukiError(
                f"column {name} is null in {len(rows)} rows, first in row {rows[0]}",
                where=where,
                fix='Drop these rows, or write an empty text as ""',
            )
    if frame.is_empty():
        raise MukiError("holds no text", where=where, fix="Name a source with rows")
    return frame


def _from_file(path: Path) -> pl.DataFrame:
    suffix = path.suffix.lower()
    try:
        if suffix == ".parquet":
            table = pq.read_table(path)
            table.validate(full=True)  # UTF-8 is checked here and nowhere else
            return pl.DataFrame(pl.from_arrow(table))
        if suffix not in (".csv", ".jsonl", ".ndjson", *_TABULATED):
            raise MukiError(
                f"{suffix or 'a file without an ending'} is no known format",
                where=str(path),
                fix="Use .csv, .tsv, .tab, .jsonl or .parquet, or the name of a data set",
            )
        _check_utf8(path)
        if suffix in (".jsonl", ".ndjson"):
            return pl.read_ndjson(path, infer_schema_length=None)
        if suffix == ".csv":
            return pl.read_csv(path, infer_schema=False)
        frame = pl.read_csv(
            path,
            separator="\t",
            quote_char=None,
            infer_schema=False,
            skip_rows_after_header=_TABULATED[suffix],
        )
        # Orange writes an empty line after its header lines.
        return frame.filter(~pl.all_horizontal(pl.all().is_null())) if suffix == ".tab" else frame
    except (pl.exceptions.PolarsError, pa.ArrowInvalid, OSError) as error:
        raise MukiError(
            f"cannot be read ({' '.join(str(error).split())[:200]})", where=str(path), fix="Mend the file"
        ) from None


def _check_utf8(path: Path) -> None:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                raise MukiError(
                    f"line {number} is not UTF-8 ({error.reason} at byte {error.start})",
                    where=str(path),
                    fix="Convert the file, say with iconv -t UTF-8",
                ) from None


def _from_hub(source: Source) -> pl.DataFrame:
    from datasets import ClassLabel, load_dataset

    try:
        data = load_dataset(source.source, source.config, split=source.split)
    except (OSError, ValueError) as error:  # what datasets raises for a name, config or split that it cannot load
        raise MukiError(
            f"neither a file nor a data set that can be loaded ({' '.join(str(error).split())[:200]})",
            where=source.source,
            fix="Correct source, config or split under prepare, or bring the network it needs",
        ) from None
    feature = data.features.get(source.label) if source.label else None
    frame = pl.DataFrame(pl.from_arrow(data.data.table))
    if isinstance(feature, ClassLabel):
        names = dict(enumerate(feature.names))
        frame = frame.with_columns(pl.col(str(source.label)).replace_strict(names, return_dtype=pl.String))
    return frame
