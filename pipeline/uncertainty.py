"""Entropies, mutual information, scores. Pure array functions over a teacher's stored numbers."""

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]


def softmax(logits: Floats, temperature: float = 1.0) -> NDArray[np.float64]:
    """Softmax of `logits / temperature` over the last axis, in double precision."""
    scaled: NDArray[np.float64] = np.asarray(logits, dtype=np.float64) / temperature
    scaled = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    scaled /= scaled.sum(axis=-1, keepdims=True)
    return scaled


def entropy(probs: Floats) -> NDArray[np.float64]:
    """Shannon entropy in nats over the last axis; probabilities of exactly 0 count as 0."""
    p = np.asarray(probs, dtype=np.float64)
    logs = np.log(p, out=np.zeros_like(p), where=p > 0)
    nats: NDArray[np.float64] = np.maximum(-(p * logs).sum(axis=-1), 0.0)
    return nats


def entropy_of_logits(logits: Floats) -> NDArray[np.float64]:
    """Entropy in nats of softmax(logits), taken in log space: H = log Z - Σ p z."""
    z = np.asarray(logits, dtype=np.float64)
    z = z - z.max(axis=-1, keepdims=True)
    weights = np.exp(z)
    total = weights.sum(axis=-1)
    nats: NDArray[np.float64] = np.maximum(np.log(total) - (weights * z).sum(axis=-1) / total, 0.0)
    return nats


def mutual_information(entropies: Floats, expected_entropies: Floats) -> NDArray[np.float64]:
    """Mutual information (BALD) in nats: entropy of the average less average entropy; never below 0."""
    return np.maximum(np.asarray(entropies, dtype=np.float64) - expected_entropies, 0.0)


def normalised_uncertainty(
    scorer: str, entropies: Floats, expected_entropies: Floats, logits: Floats
) -> NDArray[np.float64]:
    """A teacher's uncertainty of each text as a share of log C, so that teachers of different label counts compare.

    Args:
        scorer: `mc_entropy` (MUKI, Eq. 6), `entropy` (without dropout) or `mutual_information` (BALD).
        entropies: `[rows]`, entropy of the Monte-Carlo average, nats.
        expected_entropies: `[rows]`, average entropy of the passes, nats.
        logits: `[rows, labels]`, without dropout.

    Returns:
        `[rows]`, between 0 (certain) and 1.
    """
    uncertainty = {
        "mc_entropy": lambda: np.asarray(entropies, dtype=np.float64),
        "entropy": lambda: entropy_of_logits(logits),
        "mutual_information": lambda: mutual_information(entropies, expected_entropies),
    }[scorer]()
    return uncertainty / math.log(logits.shape[-1])


def confidence(scorer: str, entropies: Floats, expected_entropies: Floats, logits: Floats) -> NDArray[np.float64]:
    """Confidence score s = 1 - u / log C (method.md, point 4); see `normalised_uncertainty`. Higher is surer."""
    return 1.0 - normalised_uncertainty(scorer, entropies, expected_entropies, logits)
