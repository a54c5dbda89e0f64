"""A teacher without an answer to a text has no vote on it."""

import numpy as np
from numpy.typing import NDArray


def voting(scores: NDArray[np.float64], is_silent: NDArray[np.bool_], is_posterior: bool) -> NDArray[np.float64]:
    """Scores `[rows, teachers]` in which a teacher without an answer has 0, the lowest; posteriors still sum to 1.

    Where no teacher has an answer, the scores stay.
    """
    must_change = is_silent.any(axis=1) & ~is_silent.all(axis=1)
    if not must_change.any():
        return scores
    changed = np.where(is_silent[must_change], 0.0, scores[must_change])
    if is_posterior:
        changed /= np.maximum(changed.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)
    result = scores.copy()
    result[must_change] = changed
    return result
