"""Labels that nobody knows: counted, and named with the known one that each resembles."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches

import polars as pl

_NAMED = 8


def unknown_labels(labels: pl.Series, union: Sequence[str]) -> dict[str, int]:
    """How often each label occurs that is not in the union, most first."""
    counts = labels.filter(~labels.is_in(list(union))).value_counts(sort=True)
    return dict(counts.iter_rows())


def name_unknown(unknown: Mapping[str, int], union: Sequence[str]) -> str:
    """Unknown labels in words, the most frequent first, with the label of the union that each resembles."""
    words = []
    for label, count in list(unknown.items())[:_NAMED]:
        folded = {each.casefold(): each for each in union}
        near = get_close_matches(label.casefold(), list(folded), n=1)
        words.append(f"{label!r} ({count:,}{f', did you mean {folded[near[0]]!r}?' if near else ''})")
    return ", ".join(words) + (f" and {len(unknown) - _NAMED} more" if len(unknown) > _NAMED else "")
