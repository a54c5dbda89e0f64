"""A teacher without an answer to a text has no vote on it."""

import numpy as np
from numpy.typing import NDArray

_BELOW_ALL = -1.0
"""Lower than any confidence, which are 0 or more but for rounding."""


def voting(scores: NDArray[np.float64], is_silent: NDArray[np.bool_], is_posterior: bool) -> NDArray[np.float64]:
    """Scores `[rows, teachers]` by which a teacher without an answer is never chosen.

    A posterior of it is 0, and the others still sum to 1; other scores are below all. Where no teacher has an answer,
    the scores stay.
    """
    must_change = is_silent.any(axis=1) & ~is_silent.all(axis=1)
    if not must_change.any():
        return scores
    silent, changed = is_silent[must_change], scores[must_change].copy()
    changed[silent] = 0.0 if is_posterior else _BELOW_ALL
    if is_posterior:
        sums = changed.sum(axis=1, keepdims=True)
        voters = (~silent).sum(axis=1, keepdims=True)
        # A voter whose share is exactly 0 still answers where nobody else does.
        changed = np.where(sums > 0, changed / np.where(sums > 0, sums, 1.0), ~silent / voters)
    result = scores.copy()
    result[must_change] = changed
    return result


def choice(scores: NDArray[np.float64], is_silent: NDArray[np.bool_], is_posterior: bool) -> NDArray[np.intp]:
    """`[rows]`, the number of the teacher that is chosen: the best one that has an answer."""
    chosen: NDArray[np.intp] = voting(scores, is_silent, is_posterior).argmax(axis=1)
    return chosen
