"""What label names know by themselves: the nearest name, then what the corpus adds. No teacher is asked."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from muki_pipeline.routing.confidence import softmax
from muki_pipeline.routing.gate.calibration import fit_factor, sharpness
from muki_pipeline.routing.gate.gaussian import GaussianModel
from muki_pipeline.routing.gate.scale import Scale
from muki_pipeline.routing.gate.views import folds_of
from muki_pipeline.routing.gate.words import WordIndex, WordModel

ROUNDS, SURE = 6, 0.9


def self_trained(
    texts: Sequence[str], embeddings: NDArray[np.float32], names: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Distributions `[texts, labels]`: words and embedding learn the nearest names, and answer themselves, in turns.

    Args:
        texts: The corpus.
        embeddings: `[texts, size]`.
        names: `[size, labels]`, embeddings of the label names.
    """
    similarities = np.asarray(embeddings @ names, dtype=np.float64)
    logits = Scale.fit(similarities)(similarities)
    bags, folds = WordIndex.fit(texts).bags(texts), folds_of(texts)
    targets = softmax(logits * sharpness(logits, SURE))
    for _ in range(ROUNDS):
        words = WordModel.fit(bags, folds, targets)(bags, folds)
        embedding = GaussianModel.fit(embeddings, folds, targets)(embeddings, folds)
        logits = fit_factor(words, targets) * words + fit_factor(embedding, targets) * embedding
        targets = softmax(logits * min(sharpness(logits, SURE), 1.0))
    return targets
