"""Files of any format as frames: only the columns that are wanted, and every fault with its line."""

import gzip
import json
import zlib
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from muki_pipeline.corpus.dialects import (
    DELIMITERS,
    QUOTES,
    UNKNOWN,
    Dialect,
    Record,
    find_dialect,
    has_header,
    records,
)
from muki_pipeline.corpus.signatures import refuse_binary, refuse_signature
from muki_pipeline.errors import MukiError, brief, needs_package, refusing, shortlist

_GZIP = ".gz"
_QUOTED = 80
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_ORANGE_TYPES = {"c", "continuous", "d", "discrete", "s", "string", "t", "time"}
_ORANGE_WORDS = {"", *_ORANGE_TYPES, "m", "meta", "class", "i", "ignore"}
_NO_FRAME = ("decimal256", "union", "run_end_encoded", "month_day_nano_interval")
"""Types that polars cannot hold."""
Columns = Sequence[str] | None
_Cells = tuple[list[str], list[list[str | None]]]
"""The names of columns, and rows of strings."""
_Entry = tuple[str, Any]
"""What a file of JSON holds, with its place."""


def kind_of(path: Path) -> str:
    """A file's ending in small letters, without `.gz`.

    Raises:
        MukiError: No format has this ending.
    """
    name = path.name.lower()
    is_packed = name.endswith(_GZIP)
    suffix = Path(name.removesuffix(_GZIP)).suffix
    if suffix not in READERS or (is_packed and suffix in BINARY):
        kind = f"{suffix or 'a file without an ending'}{_GZIP if is_packed else ''}"
        what = "is a folder" if path.is_dir() else f"{kind} is not a known format"
        texts = ", ".join(each for each in READERS if each not in BINARY)
        fix = f"Use {texts} (also with .gz), {' or '.join(BINARY)}"
        raise MukiError(what, where=str(path), fix=fix)
    return suffix


@contextmanager
def _reading(path: Path) -> Iterator[str]:
    """Gives a file's kind; inside, what is wrong with it is a refusal."""
    kind = kind_of(path)
    if not path.is_file():
        raise MukiError("is no regular file" if path.exists() else "no such file", where=str(path), fix="Name a file")
    try:
        yield kind
    except (pl.exceptions.PolarsError, pa.ArrowException, OSError, EOFError, zlib.error) as error:
        raise MukiError(f"cannot be read ({brief(error)})", where=str(path), fix="Correct the file") from None


def read_table(path: Path, columns: Columns = None, dialect: Dialect = UNKNOWN) -> pl.DataFrame:
    """Columns of a file, by its ending.

    Args:
        path: The file.
        columns: Only these columns are parsed, where they exist; all by default.
        dialect: How its columns are written, where that is known.

    Raises:
        MukiError: The file is missing, of an unknown format, or unreadable.
    """
    with _reading(path) as kind:
        return READERS[kind](path, columns, dialect)


def names_of(path: Path, dialect: Dialect = UNKNOWN) -> list[str]:
    """The names of a file's columns, whatever they hold.

    Raises:
        MukiError: See `read_table`.
    """
    with _reading(path) as kind:
        if kind in _CELLS:
            return _CELLS[kind](path, dialect)[0]
        if kind in _ENTRIES:
            return list(dict.fromkeys(name for _, row in _objects(path) for name in row))
        return pq.read_schema(path).names if kind == ".parquet" else read_table(path).columns


def full_dialect(path: Path, given: Dialect = UNKNOWN) -> Dialect | None:
    """How the columns of a file are written, found out where it is not known; of a sheet, whether it has a header.

    None where the format says so itself.

    Raises:
        MukiError: See `find_dialect` and `read_table`; nobody can tell whether there is a header.
    """
    with _reading(path) as kind:
        if kind == ".xlsx":
            return Dialect(header=_header(_sheet(path), given, path))
        if kind not in _USUAL or (kind == ".tab" and _is_orange(_text(path))):
            return None
        return _opened(path, given)[1]


def describe_dialect(dialect: Dialect, columns: int) -> str:
    """A dialect in words: `semicolons, quotes doubled, 3 columns`."""
    words = [DELIMITERS[str(dialect.delimiter)], QUOTES[str(dialect.quote)]]
    words += [f"{columns} columns" if columns > 1 else "1 column"]
    return ", ".join([*words, *([] if dialect.header else ["no header"])])


def _text(path: Path) -> str:
    """A file's content, checked to be UTF-8."""
    content = path.read_bytes()
    if path.name.lower().endswith(_GZIP):
        with refusing("cannot be unpacked", where=str(path), fix="Rename it if it is not packed, or pack it again"):
            content = gzip.decompress(content)
    if content.startswith(_UTF_16):
        raise MukiError("is UTF-16, not UTF-8", where=str(path), fix="Convert it, with iconv -f UTF-16 -t UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        refuse_binary(content, path)
        line = content.count(b"\n", 0, error.start) + 1
        place = error.start - content.rfind(b"\n", 0, error.start) - 1
        what = f"line {line} is not UTF-8 ({error.reason} at byte {place})"
        fix = "Convert the file, for example with iconv -f WINDOWS-1252 -t UTF-8"
        raise MukiError(what, where=str(path), fix=fix) from None
    if "\0" in text:  # a text may begin as a Parquet file does, but not hold zero bytes too
        refuse_signature(content, path)
    return text


def _opened(path: Path, given: Dialect) -> tuple[list[Record], Dialect]:
    """The rows of a delimited file, with the header among them, and its dialect."""
    text = _text(path)
    dialect = find_dialect(text, given, _USUAL[kind_of(path)], str(path))
    rows = records(text, dialect, str(path))
    return rows, Dialect(dialect.delimiter, dialect.quote, _header(rows, given, path))


def _header(rows: Sequence[Record], given: Dialect, path: Path) -> bool:
    if not rows:
        return given.header is not False
    found = given.header if given.header is not None else has_header([row.fields for row in rows[:1000]])
    if found is None:
        what = f"may have a header or not: its first row is {shortlist([str(field) for field in rows[0].fields])}"
        raise MukiError(what, where=str(path), fix="Say --header or --no-header, or set header in params.yaml")
    return found


def _read_cells(path: Path, columns: Columns, given: Dialect) -> pl.DataFrame:
    """The wanted columns of rows of strings."""
    names, rows = _CELLS[kind_of(path)](path, given)
    wanted = [number for number, name in enumerate(names) if columns is None or name in columns]
    chosen = [names[number] for number in wanted]
    if twice := sorted({name for name in chosen if chosen.count(name) > 1}):
        raise MukiError(f"has two columns called {twice[0]!r}", where=str(path), fix="Rename one of them")
    return pl.DataFrame({names[number]: pl.Series([row[number] for row in rows], dtype=pl.String) for number in wanted})


def _delimited(path: Path, given: Dialect) -> _Cells:
    rows, dialect = _opened(path, given)
    return _named(rows, is_named=bool(dialect.header))


def _named(rows: Sequence[Record], *, is_named: bool) -> _Cells:
    """Rows with the names of their columns, which are numbers where the first row does not name them."""
    first = rows[0].fields if rows else []
    numbers = [str(number) for number in range(1, len(first) + 1)]
    names = [field or f"column {number}" for field, number in zip(first, numbers, strict=True)]
    return (names, [row.fields for row in rows[1:]]) if is_named else (numbers, [row.fields for row in rows])


def _tab(path: Path, given: Dialect) -> _Cells:
    """Orange's .tab has two more header lines, and quotes are text in it; other files of this ending are as .tsv."""
    text = _text(path)
    if not _is_orange(text):
        return _delimited(path, given)
    rows = records(text, Dialect("\t", "none"), str(path))
    return [field or "" for field in rows[0].fields], [row.fields for row in rows[3:] if any(row.fields)]


def _is_orange(text: str) -> bool:
    """Whether the second line names the columns' types and the third their roles."""
    lines = text.split("\n", 3)
    if len(lines) < 3:
        return False
    types, roles = ([field.strip() for field in line.split("\t")] for line in lines[1:3])
    return any(types) and set(types) <= _ORANGE_WORDS and set(roles) <= _ORANGE_WORDS


def _read_lines(path: Path, columns: Columns, given: Dialect) -> pl.DataFrame:
    """A text in each line."""
    content = _text(path).replace("\r\n", "\n").rstrip("\n")
    texts = content.split("\n") if content.strip() else []
    return pl.DataFrame({"text": pl.Series([text if text.strip() else None for text in texts], dtype=pl.String)})


def _lines(path: Path) -> list[_Entry]:
    """An object in each line."""
    lines = enumerate(_text(path).split("\n"), start=1)
    return [(f"line {number}", _parsed(line, f"line {number}", path)) for number, line in lines if line.strip()]


def _array_of(path: Path) -> list[_Entry]:
    """An array of objects."""
    content = _parsed(_text(path), "", path)
    if not isinstance(content, list):
        fix = "Write an array of objects (pandas: orient='records'), or an object in each line of a .jsonl file"
        raise MukiError("holds no array", where=str(path), fix=fix)
    return [(f"entry {number}", row) for number, row in enumerate(content, start=1)]


def _parsed(text: str, place: str, path: Path) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        what = f"{place} is not valid JSON ({error})".strip()
        raise MukiError(what, where=str(path), fix="Correct it") from None


def _objects(path: Path) -> list[_Entry]:
    """The objects of a file, each with its place."""
    rows = _ENTRIES[kind_of(path)](path)
    for place, row in rows:
        if not isinstance(row, dict):
            what = f"{place} holds {type(row).__name__}, not an object"
            fix = 'Write a flat object for each text: {"text": "...", "label": "..."}'
            raise MukiError(what, where=str(path), fix=fix)
    return rows


def _read_objects(path: Path, columns: Columns, given: Dialect) -> pl.DataFrame:
    rows = _objects(path)
    names = dict.fromkeys(name for _, row in rows for name in row if columns is None or name in columns)
    for place, row in rows:
        if any(isinstance(value := row.get(name), str) and not _is_text(value) for name in names):
            what = f"{place} holds half of a surrogate pair, which stands for no character"
            raise MukiError(what, where=str(path), fix="Correct the text")
    values = {name: [row.get(name) for _, row in rows] for name in names}
    arrays = {name: _array(column) for name, column in values.items()}
    if odd := [(_first_odd(values[name]), name) for name, array in arrays.items() if array is None]:
        raise _mixed(*min(odd, key=lambda each: each[0]), values, path)
    series = [pl.Series(name, pl.from_arrow(array)) for name, array in arrays.items()]
    return pl.DataFrame([each.cast(pl.String) if each.dtype == pl.Null else each for each in series])


def _array(values: Sequence[Any]) -> pa.Array | None:
    """Values as a column, None where they make none. Unlike polars, Arrow reads all values before it decides."""
    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError, UnicodeError):
        return None


def _first_odd(values: Sequence[Any]) -> int:
    """The number of the first value that makes no column with those before it, of values that make none."""
    return bisect_left(range(len(values)), True, key=lambda number: _array(values[: number + 1]) is None)


def _mixed(number: int, name: str, values: Mapping[str, Sequence[Any]], path: Path) -> MukiError:
    """The error for a column whose values are of several kinds, from one on."""
    before = sorted({type(value).__name__ for value in values[name][:number] if value is not None})
    reason = f"makes no column with the values before it ({', '.join(before)})" if before else "cannot be read"
    what = f"row {number + 1}, column {name!r} holds {values[name][number]!r:.{_QUOTED}}, which {reason}"
    return MukiError(what, where=str(path), fix="Write values of one kind, or leave the column out")


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _read_parquet(path: Path, columns: Columns, given: Dialect) -> pl.DataFrame:
    file = pq.ParquetFile(path)
    names = [name for name in file.schema_arrow.names if columns is None or name in columns]
    return arrow_frame(file.read(names), path)


def arrow_frame(table: pa.Table, path: Path) -> pl.DataFrame:
    """A table that a library has read, checked: UTF-8 is checked here and nowhere else.

    Raises:
        MukiError: polars cannot hold one of its columns.
    """
    for field in table.schema:
        if any(kind in str(field.type) for kind in _NO_FRAME):
            fix = "Write it as another type, or leave the column out"
            raise MukiError(f"column {field.name} holds {field.type}, which cannot be read", where=str(path), fix=fix)
    table.validate(full=True)
    return pl.DataFrame(pl.from_arrow(table))


def _sheet(path: Path) -> list[Record]:
    """The rows of the only sheet with content; every cell as text."""
    needs_package("fastexcel", "excel", str(path))
    content = path.read_bytes()
    with refusing("cannot be read", where=str(path), fix="Save it again as .xlsx, or as .csv"):
        sheets = pl.read_excel(
            BytesIO(content),
            sheet_id=0,
            has_header=False,
            infer_schema_length=0,
            raise_if_empty=False,
            drop_empty_cols=False,
        )
    filled = {name: frame for name, frame in sheets.items() if not frame.is_empty()}
    if len(filled) > 1:
        what = f"has several sheets with content: {shortlist(list(filled))}"
        raise MukiError(what, where=str(path), fix="Keep the one with the texts")
    rows = [list(row) for frame in filled.values() for row in frame.cast(pl.String).iter_rows()]
    return [Record(number, row) for number, row in enumerate(rows, start=1)]


def _excel(path: Path, given: Dialect) -> _Cells:
    rows = _sheet(path)
    return _named(rows, is_named=_header(rows, given, path))


_USUAL = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
"""Files of delimited columns, and the delimiter that their ending stands for."""
_Read = Callable[[Path, Dialect], _Cells]
_CELLS: dict[str, _Read] = {".csv": _delimited, ".tsv": _delimited, ".tab": _tab, ".xlsx": _excel}
_ENTRIES: dict[str, Callable[[Path], list[_Entry]]] = {".json": _array_of, ".jsonl": _lines, ".ndjson": _lines}
READERS: dict[str, Callable[[Path, Columns, Dialect], pl.DataFrame]] = {
    **dict.fromkeys(_CELLS, _read_cells),
    **dict.fromkeys(_ENTRIES, _read_objects),
    ".txt": _read_lines,
    ".parquet": _read_parquet,
}
"""How to read a file, by its ending. To add a format, add a function and a line, here or above."""
BINARY = (".parquet", ".xlsx")
