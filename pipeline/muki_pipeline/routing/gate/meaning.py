"""What a text means, as one vector: its neutral embedding, and beside it what every teacher answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]

_RAREST_ANSWER = 1e-4
"""Probabilities below it are taken as it: their logarithms tell nothing."""


@dataclass(frozen=True)
class Meaning:
    """Puts embedding and answers on one scale: each half has the same variance over the corpus.

    Answers are logarithms of probabilities. A teacher answers texts of foreign labels too, in its own way for each of
    them, and it tells apart what a neutral encoder does not: to turn a lamp on, and to turn it off.

    Attributes:
        mean: `[size + labels of all teachers]`, over the corpus.
        deviation: The same; one number for each half, the root of its total variance.
    """

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]

    @classmethod
    def fit(cls, embeddings: Floats, distributions: Sequence[Floats]) -> Self:
        """The scale of a sample of the corpus.

        Args:
            embeddings: `[texts, size]`.
            distributions: For each teacher `[texts, its labels]`, each row sums to 1.
        """
        halves = (embeddings.astype(np.float64), _answers(distributions))
        deviations = [np.full(half.shape[1], max(np.sqrt(half.var(axis=0).sum()), 1e-12)) for half in halves]
        return cls(np.concatenate([half.mean(axis=0) for half in halves]), np.concatenate(deviations))

    def __call__(self, embeddings: Floats, distributions: Sequence[Floats]) -> NDArray[np.float32]:
        """Some texts' vectors, `[texts, size + labels of all teachers]`."""
        both = np.concatenate([embeddings, _answers(distributions)], axis=1)
        return ((both - self.mean) / self.deviation).astype(np.float32)


def _answers(distributions: Sequence[Floats]) -> NDArray[np.float64]:
    """`[texts, labels of all teachers]`."""
    parts = [np.log(np.maximum(each, _RAREST_ANSWER)) for each in distributions]
    return np.concatenate(parts, axis=1).astype(np.float64)
