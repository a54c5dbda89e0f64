"""How similar a text is to the labels' names, and what that says of each teacher."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.integration.label_space import LabelSpace

Floats = NDArray[np.floating]


def similarities(embeddings: Floats, names: Floats) -> NDArray[np.float64]:
    """Of every text and label name, `[texts, labels]`.

    Args:
        embeddings: `[texts, size]`, neutral embeddings of length 1.
        names: `[size, labels]`, the same of the labels' names.
    """
    cosines: NDArray[np.float64] = (embeddings @ names).astype(np.float64)
    return cosines


def name_features(
    similarities: Floats, distributions: Sequence[Floats], label_space: LabelSpace
) -> NDArray[np.float64]:
    """`[texts, teachers, 2]`: similarity to the nearest of a teacher's names, and on average over its answer."""
    features = [
        np.stack([similarities[:, columns].max(axis=1), (similarities[:, columns] * distribution).sum(axis=1)], axis=-1)
        for columns, distribution in zip(label_space.columns, distributions, strict=True)
    ]
    return np.stack(features, axis=1)
