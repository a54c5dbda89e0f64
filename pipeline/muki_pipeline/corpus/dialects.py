"""How a file of delimited columns is written: found out from its rows, or refused where two readings are possible."""

import csv
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from io import StringIO

from muki_pipeline.errors import MukiError

DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
QUOTES = {"doubled": "quotes doubled", "escaped": "quotes escaped by a backslash", "none": "quotes as text"}
TEXT_NAMES = ("text", "texts", "body", "utterance", "sentence", "content", "message", "query")
_LABEL_NAMES = ("label", "labels", "topic", "intent", "category", "class", "id")
_SET = "Set delimiter and quote, in params.yaml or as options of the command"
_LONGEST_NAME, _MOST_WORDS, _SENTENCE = 40, 4, re.compile(r"[.?!](\s|$)")
_NUMBER = re.compile(r"[-+]?[\d.,]+")
csv.field_size_limit(sys.maxsize)  # a text may have any length


@dataclass(frozen=True)
class Dialect:
    """How the columns of a file are written; None for what is to be found out.

    Attributes:
        delimiter: One of `DELIMITERS`.
        quote: One of `QUOTES`.
        header: Whether the first row names the columns.
    """

    delimiter: str | None = None
    quote: str | None = None
    header: bool | None = None


UNKNOWN = Dialect()


@dataclass(frozen=True)
class Record:
    """A row.

    Attributes:
        line: The number of its first line, from 1 on.
        fields: Its fields; None where nothing is written, not even quotes.
    """

    line: int
    fields: list[str | None]


class _Fault(Exception):
    """A row that does not fit a dialect."""

    def __init__(self, line: int, what: str) -> None:
        super().__init__(f"line {line} {what}")


def records(text: str, dialect: Dialect, where: str) -> list[Record]:
    """The rows of a file, the header among them.

    Args:
        text: Its content.
        dialect: With delimiter and quote, see `find_dialect`.
        where: Named in errors.

    Raises:
        MukiError: A row has more or fewer fields than the first, or its quotes do not fit the dialect.
    """
    try:
        return list(_parse(text, dialect))
    except _Fault as fault:
        what = f"{fault} (read with {DELIMITERS[str(dialect.delimiter)]}, {QUOTES[str(dialect.quote)]})"
        raise MukiError(what, where=where, fix=f"Correct it. {_SET} if this is not how it is written") from None


def find_dialect(text: str, given: Dialect, usual: str, where: str) -> Dialect:
    """Delimiter and quote of a file, by trying on all of its rows what is common.

    Args:
        text: Its content.
        given: What is known.
        usual: The delimiter that its ending stands for; a single column is read with it alone.
        where: Named in errors.

    Raises:
        MukiError: No reading gives every row the same number of fields, or two of them differ.
    """
    first_line = text.partition("\n")[0]
    known = given.delimiter or _declared_delimiter(text)
    delimiters = [known] if known else [each for each in DELIMITERS if each in first_line or each == usual]
    readings = {
        (delimiter, quote): _width(text, Dialect(delimiter, quote))
        for delimiter in delimiters
        for quote in ([given.quote] if given.quote else _common_quotes(text, delimiter))
    }
    fitting = {each: width for each, width in readings.items() if isinstance(width, int)}
    several = [each for each in delimiters if any(width > 1 for (other, _), width in fitting.items() if other == each)]
    if len(several) > 1:
        named = " and with ".join(DELIMITERS[each] for each in several)
        raise MukiError(f"can be read with {named}", where=where, fix=_SET)
    delimiter = several[0] if several else known or usual
    quotes = [quote for other, quote in fitting if other == delimiter]
    if not quotes:
        fault = next(fault for (other, _), fault in readings.items() if other == delimiter)
        what = f"cannot be read with {DELIMITERS[delimiter]}: {fault}"
        raise MukiError(what, where=where, fix=f"Put quotes around such fields. {_SET} if it is written otherwise")
    quote = given.quote or _quote_of(text, delimiter, quotes, where)
    return replace(given, delimiter=delimiter, quote=quote)


def _common_quotes(text: str, delimiter: str) -> list[str]:
    """The readings of quotes and backslashes that a file's content leaves open."""
    without_escapes = re.sub(rf'\\[\\"\r\n{re.escape(delimiter)}]', "", text)
    may_escape = '\\"' in text or (len(without_escapes) < len(text) and "\\" not in without_escapes)
    is_plain = delimiter == "\t" and '"' in text
    return ["doubled", *(["escaped"] if may_escape else []), *(["none"] if is_plain else [])]


def _quote_of(text: str, delimiter: str, possible: Sequence[str], where: str) -> str:
    """The one of several readings of quotes that the file's writer must have meant."""
    if possible == ["escaped"] and (stray := re.search(r'\\(?!")', text)):
        line = text.count("\n", 0, stray.start()) + 1
        what = f"escapes quotes by backslashes, and line {line} holds one that escapes no quote"
        fix = "Write quotes doubled, or set quote to escaped if every backslash takes the next character as it is"
        raise MukiError(what, where=where, fix=fix)
    if list(possible) == ["doubled"] and re.search(rf'\\"(?=[{re.escape(delimiter)}\r\n]|\Z)', text):
        possible = ["doubled", "escaped"]  # a text that ends with a backslash, or one that goes on behind the quote
    else:
        readings = [[record.fields for record in _parse(text, Dialect(delimiter, quote))] for quote in possible]
        if all(reading == readings[0] for reading in readings[1:]):
            return possible[0]
        if list(possible) == ["doubled", "none"] and _is_quoted_on_purpose(*readings):
            return "doubled"
    named = " and with ".join(QUOTES[quote] for quote in possible)
    raise MukiError(f"can be read with {named}", where=where, fix=_SET)


def _is_quoted_on_purpose(doubled: list[list[str | None]], plain: list[list[str | None]]) -> bool:
    """Whether quotes are doubled inside of quotes, or stand around every field: no text looks like that by itself."""
    if len(doubled) != len(plain):
        return True
    fields = [
        (one or "", other or "") for rows in zip(doubled, plain, strict=True) for one, other in zip(*rows, strict=True)
    ]
    has_doubled = any('"' in one and len(other) > len(one) + 2 for one, other in fields)
    return has_doubled or all(other.startswith('"') for _, other in fields)


def _width(text: str, dialect: Dialect) -> int | str:
    """Fields of each row, 0 for an empty file; or what is wrong with a row."""
    width = 0
    try:
        for record in _parse(text, dialect):
            width = len(record.fields)
    except _Fault as fault:
        return str(fault)
    return width


def _parse(text: str, dialect: Dialect) -> Iterator[Record]:
    """The rows; blank lines are left out, but not in a single column, where they may stand for a text.

    Raises:
        _Fault: A row does not fit.
    """
    declared = _declared_delimiter(text) is not None
    raw: list[str] = []
    reader = csv.reader(
        _remembered(StringIO(text.partition("\n")[2] if declared else text, newline=""), raw),
        delimiter=str(dialect.delimiter),
        doublequote=dialect.quote == "doubled",
        escapechar="\\" if dialect.quote == "escaped" else None,
        quoting=csv.QUOTE_NONE if dialect.quote == "none" else csv.QUOTE_MINIMAL,
        strict=True,
    )
    width, line, blank = 0, 1 + declared, 0
    end = ""
    try:
        for fields in reader:
            written, first = "".join(raw), line
            raw.clear()
            line = reader.line_num + 1 + declared
            if end and written[-1] in "\r\n" and written[-1] != end:
                raise _Fault(first, "ends otherwise than those before it: a line break inside a text needs quotes")
            end = written[-1] if written[-1] in "\r\n" else end
            if not fields:
                blank = blank or first
                continue
            if blank and width == 1:
                raise _Fault(blank, 'is blank: remove it, or write "" for an empty text')
            if dialect.quote == "escaped" and not _has_closed_quotes(written, str(dialect.delimiter)):
                raise _Fault(first, "has text after a closing quote")
            if width and len(fields) != width:
                raise _Fault(first, f"has {len(fields)} fields, and the first one {width}")
            width = len(fields)
            yield Record(first, [field or _empty(written, dialect, number) for number, field in enumerate(fields)])
    except csv.Error as error:
        raise _Fault(line, f"has quotes that do not fit ({error})") from None


def _remembered(lines: StringIO, raw: list[str]) -> Iterator[str]:
    for line in lines:
        raw.append(line)
        yield line


def _has_closed_quotes(written: str, delimiter: str) -> bool:
    """Whether every quoted field ends with its quote: `csv` checks that for doubled quotes alone."""
    field = rf'(?:"(?:[^"\\]|\\.)*"|(?:[^"\\{re.escape(delimiter)}]|\\.)*)'
    return re.fullmatch(rf"{field}(?:{re.escape(delimiter)}{field})*", written.rstrip("\r\n"), re.DOTALL) is not None


def _empty(written: str, dialect: Dialect, number: int) -> str | None:
    """An empty field: a text where it is written with quotes, else nothing."""
    if dialect.quote == "none":
        return None
    inside = r'(?:[^"]|"")*' if dialect.quote == "doubled" else r'(?:[^"\\]|\\.)*'
    field = re.compile(rf'"{inside}"|[^{re.escape(str(dialect.delimiter))}\r\n]*', re.DOTALL)
    place = 0
    for _ in range(number):
        found = field.match(written, place)
        place = (found.end() if found else place) + 1
    return "" if written[place : place + 1] == '"' else None


def _declared_delimiter(text: str) -> str | None:
    """The delimiter in a first line `sep=;`, which Excel reads and writes."""
    found = re.match(r"sep=([,;\t|])\r?\n", text)
    return found[1] if found else None


def has_header(rows: Sequence[Sequence[str | None]]) -> bool | None:
    """Whether the first of some rows names the columns; None where nobody can tell."""
    first, others = [field or "" for field in rows[0]], rows[1:]
    lower = [field.strip().lower() for field in first]
    if any(field in (*TEXT_NAMES, *_LABEL_NAMES) for field in lower):
        return True
    named = [field for field in lower if field]
    again = any(field and field in (row[column] for row in others) for column, field in enumerate(first))
    if again or not named or max(Counter(named).values()) > 1 or any(map(_is_no_name, named)):
        return False
    longest = max((_median_length(others, column), len(field)) for column, field in enumerate(first))
    return True if others and longest[0] > 2 * longest[1] else None


def _is_no_name(field: str) -> bool:
    is_sentence = len(field.split()) > _MOST_WORDS or _SENTENCE.search(field) is not None
    return len(field) > _LONGEST_NAME or is_sentence or _NUMBER.fullmatch(field) is not None


def _median_length(rows: Sequence[Sequence[str | None]], column: int) -> int:
    lengths = sorted(len(row[column] or "") for row in rows)
    return lengths[len(lengths) // 2] if lengths else 0
