"""Values on one scale over the corpus."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Scale:
    """Standardises values, column by column.

    Attributes:
        mean: Of each column over the corpus.
        deviation: The same.
    """

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]

    @classmethod
    def fit(cls, sample: Floats) -> Self:
        """The scale of a sample of the corpus, `[texts, …]`."""
        return cls(sample.mean(axis=0), np.maximum(sample.std(axis=0), 1e-12))

    def __call__(self, values: Floats) -> NDArray[np.float64]:
        """Values less their mean, in standard deviations."""
        scaled: NDArray[np.float64] = (values - self.mean) / self.deviation
        return scaled
