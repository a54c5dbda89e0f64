"""The one exception for what the user can mend."""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from functools import partial
from importlib import import_module
from typing import Any, TypeVar

Value = TypeVar("Value")
_QUOTED = 300
_NAMED = 12
_BREAK = re.compile(r"\s*[^\S ]\s*")
"""Blanks with a line break or a tab among them; blanks alone belong to a quoted value, which they may tell apart."""


class MukiError(Exception):
    """Something in the user's files, settings or arguments is wrong and can be put right.

    Args:
        what: What is wrong, with the offending value.
        where: The file, row, key or teacher it is wrong in.
        fix: What to do about it, as an imperative.
    """

    def __init__(self, what: str, *, where: str, fix: str) -> None:
        # Libraries' own messages may have many lines.
        super().__init__(_BREAK.sub(" ", f"{where}: {what}. {fix}.").strip())
        self.what, self.where, self.fix = what, where, fix

    def __reduce__(self) -> tuple[Any, ...]:
        """Lets it pass from a worker's process to the one that waits: keyword arguments are no part of `args`."""
        return partial(MukiError, where=self.where, fix=self.fix), (self.what,)


def shortlist(values: list[str], limit: int = 3) -> str:
    """The first few of `values`, quoted, with a count of the rest: what an error message has room for."""
    return first_few([repr(value) for value in values], limit)


def first_few(words: list[str], limit: int = 3) -> str:
    """The first few words, with a count of the rest."""
    shown = ", ".join(words[:limit])
    return shown if len(words) <= limit else f"{shown} and {len(words) - limit} more"


def choice(name: str, known: Iterable[str]) -> str:
    """What to choose instead of a name that does not exist: the nearest one, if one is near, and what there is."""
    names = list(known)
    near = get_close_matches(name, names, n=1)
    there = shortlist(names, _NAMED)
    return f"Did you mean {near[0]!r}? There is {there}" if near else f"Choose from {there}"


def chosen(name: str, known: Mapping[str, Value], what: str, where: str) -> Value:
    """The one of a name.

    Raises:
        MukiError: There is none: `no WHAT 'NAME'`, with what there is.
    """
    if name not in known:
        raise MukiError(f"no {what} {name!r}", where=where, fix=choice(name, known))
    return known[name]


def describe_fault(fault: Mapping[str, Any], keys: Iterable[str]) -> str:
    """A fault that pydantic found, with its key; an unknown key with the one that it resembles.

    Args:
        fault: See pydantic's `ValidationError.errors`.
        keys: All that there are.
    """
    where = ".".join(map(str, fault["loc"])) or "the file"
    line = f"{where}: {fault['msg']} (got {fault['input']!r:.60})"
    if fault["type"] != "extra_forbidden":
        return line
    near = get_close_matches(str(fault["loc"][-1]), [key for key in keys if key != fault["loc"][-1]], n=1)
    return f"{line}, did you mean {near[0]}?" if near else line


def brief(error: Exception) -> str:
    """A library's message on one line, cut where it gets long."""
    return " ".join(str(error).split())[:_QUOTED]


@contextmanager
def refusing(what: str, *, where: str, fix: str) -> Iterator[None]:
    """Inside, whatever a library raises means that it refuses the user's files: libraries refuse in any type of error.

    Raises:
        MukiError: `what`, with the library's message. A lack of memory stays what it is.
    """
    try:
        yield
    except (MukiError, MemoryError):
        raise
    except Exception as error:
        raise MukiError(f"{what} ({brief(error)})", where=where, fix=fix) from error


def needs_package(package: str, extra: str, where: str) -> None:
    """Make sure that an optional package is there.

    Raises:
        MukiError: It is not installed.
    """
    try:
        import_module(package)
    except ImportError:
        fix = f"Install the extra: pip install 'muki-pipeline[{extra}]'"
        raise MukiError(f"needs the package {package}, which is not installed", where=where, fix=fix) from None
