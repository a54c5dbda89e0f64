"""Text sources (a file, a file in a Python package, a data set on the hub) -> texts and labels, checked."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from muki_pipeline.blocks import Delimited, Source
from muki_pipeline.corpus.dialects import Dialect
from muki_pipeline.corpus.formats import arrow_frame, describe_dialect, full_dialect, kind_of, names_of, read_table
from muki_pipeline.errors import MukiError, brief, choice, refusing
from muki_pipeline.models import locations
from muki_pipeline.names import comparable
from muki_pipeline.store.files import expanded

_PATTERN = "*?"
_PART_ROWS = 65_536


def read_source(source: Source, root: Path) -> pl.DataFrame:
    """The texts of a source in its own order, checked.

    Args:
        source: Where they are, and which columns hold text and label.
        root: What relative paths are relative to.

    Returns:
        Columns `text` and, where the source names a label column, `label`; strings without nulls. Labels are as
        `comparable` makes them.

    Raises:
        MukiError: The source is missing, unreadable or empty; a column is missing; a text or label is null or not
            UTF-8 (with its row).
    """
    return pl.concat(read_parts(source, root))


def read_parts(source: Source, root: Path) -> Iterator[pl.DataFrame]:
    """The same, part by part: a Parquet file in pieces, other files whole, a pattern (`texts/*.parquet`) file by file.

    Raises:
        MukiError: As `read_source`; rows are counted from the beginning of their part.
    """
    if (paths := local_files(source.source, root)) is None:
        frame = _from_hub(source)
        yield _checked(frame, source, source.source, frame.columns)
        return
    rows = 0
    for path in paths:
        where = source.source if len(paths) == 1 else str(path)
        for frame in _parts_of(path, source):
            rows += len(frame)
            yield _checked(frame, source, where, path)
    if not rows:
        raise MukiError("holds no text", where=source.source, fix="Name a source with rows")


def dialect_of(source: Delimited) -> Dialect:
    """What the settings say about the columns of a source's files."""
    return Dialect(source.delimiter, source.quote, source.header)


def describe(source: Source, root: Path) -> list[str]:
    """A line for each file of a source whose delimiter or quotes were found out: `mails.csv: semicolons, …`.

    Raises:
        MukiError: See `local_files` and `full_dialect`.
    """
    lines = []
    for path in local_files(source.source, root) or []:
        dialect = full_dialect(path, dialect_of(source))
        if dialect is not None and dialect.delimiter and None in (source.delimiter, source.quote):
            lines.append(f"{path}: {describe_dialect(dialect, len(names_of(path, dialect)))}")
    return lines


def local_files(reference: str, root: Path) -> list[Path] | None:
    """The files that a source names, by name; None for a data set on the hub.

    In a pattern only `*` and `?` stand for something else: brackets are common in names.

    Raises:
        MukiError: It is meant as a path or pattern, and there is no such file.
    """
    path = locations.local(reference, root)
    if path is not None:
        return [path]
    if set(reference) & set(_PATTERN) and not reference.startswith(locations.PACKAGE):
        folder, pattern = _pattern(reference, root)
        if found := sorted(folder.glob(pattern.replace("[", "[[]"))):
            return found
        raise MukiError("no file fits this pattern", where=reference, fix=f"Correct it; it is relative to {root}")
    if locations.looks_like_path(reference) or _has_known_ending(reference):
        raise MukiError("no such file", where=reference, fix=f"Correct the path; it is relative to {root}")
    return None


def _pattern(reference: str, root: Path) -> tuple[Path, str]:
    """The folder that a pattern begins with, and the rest of the pattern."""
    parts = expanded(reference).parts
    begin = next(number for number, part in enumerate(parts) if set(part) & set(_PATTERN))
    return root.joinpath(*parts[:begin]), str(Path(*parts[begin:]))


def _has_known_ending(reference: str) -> bool:
    try:
        return bool(kind_of(Path(reference)))
    except MukiError:
        return False


def watched(reference: str, root: Path) -> Path | None:
    """The file, or the folder of a pattern, whose change changes a source; None for a package or a data set."""
    if reference.startswith(locations.PACKAGE):
        return None
    if locations.local(reference, root) is None and set(reference) & set(_PATTERN):
        return _pattern(reference, root)[0]
    return None if local_files(reference, root) is None else expanded(reference)


def _parts_of(path: Path, source: Source) -> Iterator[pl.DataFrame]:
    columns = [source.text, *([source.label] if source.label else [])]
    if kind_of(path) != ".parquet" or not path.is_file():
        yield read_table(path, columns, dialect_of(source))
        return
    try:
        file = pq.ParquetFile(path)
        for batch in file.iter_batches(
            _PART_ROWS, columns=[name for name in columns if name in file.schema_arrow.names]
        ):
            yield arrow_frame(pa.Table.from_batches([batch]), path)
    except (pl.exceptions.PolarsError, pa.ArrowException, OSError) as error:
        raise MukiError(f"cannot be read ({brief(error)})", where=str(path), fix="Correct the file") from None


def _checked(frame: pl.DataFrame, source: Source, where: str, origin: Path | list[str]) -> pl.DataFrame:
    """`text` and `label` of a part, as strings without nulls; `origin` is its file, or the columns that there are."""
    columns = {"text": source.text} | ({"label": source.label} if source.label else {})
    if missing := [name for name in columns.values() if name not in frame.columns]:
        known = names_of(origin, dialect_of(source)) if isinstance(origin, Path) else origin
        fix = f"{choice(missing[0], known)}; correct prepare"
        is_delimited = isinstance(origin, Path) and full_dialect(origin, dialect_of(source)) is not None
        fix += ", or set header: false if these are texts" if is_delimited and source.header else ""
        raise MukiError(f"has no column {missing[0]!r}", where=where, fix=fix)
    frame = frame.select(strings(frame, name, where, role == "text").alias(role) for role, name in columns.items())
    kind = kind_of(origin) if isinstance(origin, Path) else "hub"
    for role, name in columns.items():
        check_filled(frame[role], name, where, null_remedy(kind))
    if source.label:
        labels = frame["label"].unique()
        frame = frame.with_columns(pl.col("label").replace_strict(labels, [comparable(each) for each in labels]))
    return frame


def check_filled(values: pl.Series, column: str, where: str, fix: str) -> None:
    """Make sure that every row of a column has a value.

    Raises:
        MukiError: Some have none, with the first of these rows.
    """
    if values.null_count():
        rows = values.is_null().arg_true() + 1
        more = f"{len(rows)} rows, first in " if len(rows) > 1 else ""
        what = f"column {column} is empty (null) in {more}row {rows[0]}"
        raise MukiError(what, where=where, fix=fix)


# In a file of lines, in one whose quotes are text, and in a cell, an empty text cannot be written at all.
_NULL_REMEDY = {
    "": 'Drop these rows, or write ""',
    "hub": "Name another split or column, or save the other rows as a file and name that",
    ".txt": "Drop these lines",
    **dict.fromkeys(
        (".tsv", ".tab", ".xlsx"), 'Drop these rows, or use a CSV file, where an empty text is written as ""'
    ),
}


def null_remedy(kind: str) -> str:
    """What to do about rows without a value, by the file's ending; `hub` is a data set."""
    return _NULL_REMEDY.get(kind, _NULL_REMEDY[""])


def strings(frame: pl.DataFrame, name: str, where: str, is_text: bool) -> pl.Expr:
    """A column of texts or labels as strings.

    Raises:
        MukiError: It holds something else.
    """
    kind = frame[name].dtype
    if kind == pl.String:
        return pl.col(name)
    if isinstance(kind, pl.Categorical | pl.Enum) or (not is_text and (kind.is_integer() or kind == pl.Boolean)):
        return pl.col(name).cast(pl.String)
    what = "texts" if is_text else "labels (use strings or integers)"
    raise MukiError(f"column {name} holds {kind}, which cannot be {what}", where=where, fix="Name another column")


def _from_hub(source: Source) -> pl.DataFrame:
    from datasets import ClassLabel, load_dataset

    what = "is neither a file nor a data set that can be loaded"
    fix = "Correct source, config or split in prepare, or connect to the network it needs"
    with refusing(what, where=source.source, fix=fix):
        data = load_dataset(source.source, source.config, split=source.split)
    feature = data.features.get(source.label) if source.label else None
    frame = pl.DataFrame(pl.from_arrow(data.data.table))
    if isinstance(feature, ClassLabel):  # -1 is no label
        label = pl.col(str(source.label))
        names = dict(enumerate(feature.names))
        frame = frame.with_columns(label.replace_strict(names, default=None, return_dtype=pl.String))
    return frame
