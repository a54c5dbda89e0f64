"""Names in settings and files: of teachers, labels and columns."""

import unicodedata
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

_NAMED = 8


def comparable(name: str) -> str:
    """A label's name in Unicode's composed form (NFC) without outer blanks: names that look the same are one label."""
    return unicodedata.normalize("NFC", name).strip()


def name_unknown(unknown: Mapping[str, int], union: Sequence[str]) -> str:
    """Unknown labels in words, the most frequent first, with the label of the union that each resembles."""
    words = []
    by_count = sorted(unknown.items(), key=lambda each: -each[1])  # stored in a footer, they come by name
    for label, count in by_count[:_NAMED]:
        near = resembled(label, union)
        words.append(f"{label!r} ({count:,}{f', did you mean {near!r}?' if near else ''})")
    return ", ".join(words) + (f" and {len(unknown) - _NAMED} more" if len(unknown) > _NAMED else "")


def resembled(label: str, others: Sequence[str], least: float = 0.6) -> str | None:
    """The label that another one resembles most, upper and lower case aside; None where it resembles none.

    Args:
        label: The label.
        others: The labels that it may resemble.
        least: How alike they must be, from 0 to 1.
    """
    folded = {each.casefold(): each for each in others}
    near = get_close_matches(label.casefold(), list(folded), n=1, cutoff=least)
    return folded[near[0]] if near else None


TeacherName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
LabelName = Annotated[str, AfterValidator(comparable), Field(min_length=1)]
Column = Annotated[str, BeforeValidator(lambda name: str(name) if type(name) is int else name)]
"""The name of a column, or its number."""
