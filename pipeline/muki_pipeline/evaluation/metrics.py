"""Accuracy, F1, calibration, AUROC, KL. Pure array functions."""

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.integer]
Floats = NDArray[np.floating]
Bools = NDArray[np.bool_]


def accuracy(predicted: Ints, gold: Ints) -> float:
    """Share of rows whose prediction is the gold label."""
    return float(np.mean(predicted == gold))


def macro_f1(predicted: Ints, gold: Ints, labels: int) -> float:
    """F1 averaged over the labels that occur among the gold or the predicted ones; 0 for a label never hit."""
    hits = np.bincount(gold[predicted == gold], minlength=labels)
    named = np.bincount(predicted, minlength=labels) + np.bincount(gold, minlength=labels)
    occurring = named > 0
    return float(np.mean(2 * hits[occurring] / named[occurring]))


def reliability(probs: Floats, gold: Ints, bins: int = 15) -> tuple[NDArray[np.float64], NDArray[np.float64], Ints]:
    """Mean confidence, accuracy and rows of each equal-width bin of confidence; bins without rows have 0, 0 and 0.

    Args:
        probs: `[rows, labels]`.
        gold: `[rows]`, the right column of each row; -1 where no column is right.
        bins: Number of bins.
    """
    confidence = probs.max(axis=1)
    right = probs.argmax(axis=1) == gold
    # Bins are (a, b]: a confidence of exactly 1 belongs to the last, one of 0 to the first.
    number = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    rows = np.bincount(number, minlength=bins)
    sums = (np.bincount(number, weights=each, minlength=bins) for each in (confidence, right))
    sure, accurate = (each / np.maximum(rows, 1) for each in sums)
    return sure, accurate, rows


def expected_calibration_error(probs: Floats, gold: Ints, bins: int = 15) -> float:
    """Mean gap between confidence and accuracy over equal-width bins, weighted by their rows (Guo et al. 2017, Eq. 5).

    See `reliability`.
    """
    sure, accurate, rows = reliability(probs, gold, bins)
    return float((np.abs(sure - accurate) * rows).sum() / rows.sum())


def auroc(scores: Floats, positive: Bools) -> float | None:
    """Area under the ROC curve: the chance that a positive scores above a negative, ties counting one half.

    None where either class is empty: there is nothing to separate.
    """
    positives = int(positive.sum())
    negatives = len(positive) - positives
    if not positives or not negatives:
        return None
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2  # of equal scores, the mean of their ranks
    return float((ranks[place][positive].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def kl_to_gold(targets: Floats, gold: Ints) -> NDArray[np.float64]:
    """KL(gold ‖ target) = -log target[gold] of each row, in nats; infinite where the gold label has no mass."""
    with np.errstate(divide="ignore"):
        nats: NDArray[np.float64] = -np.log(targets[np.arange(len(gold)), gold].astype(np.float64))
    return nats


def paired_bootstrap(first: Floats, second: Floats, replicates: int = 10_000, seed: int = 0) -> tuple[float, float]:
    """How much better one classifier is than another on the same texts, and whether that may be chance.

    Two-sided paired bootstrap over the texts (Efron & Tibshirani 1993, ch. 16): p is the share of replicates of the
    centred differences that are at least as far from 0 as the difference seen.

    Args:
        first: `[texts]`, how right one of them is on each text: 0 or 1, or the mean of that over seeds.
        second: `[texts]`, the other.
        replicates: How many times texts are drawn with replacement.
        seed: Of the draws.

    Returns:
        Mean difference, and p between 1 / (replicates + 1) and 1.
    """
    differences = np.asarray(first, dtype=np.float64) - second
    seen = float(differences.mean())
    # Equal differences are interchangeable, so that a replicate is one draw of how often each value comes.
    values, counts = np.unique(differences - seen, return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(len(differences), counts / len(differences), size=replicates)
    means = drawn @ values / len(differences)
    # Rounding must not make a replicate as far off as the difference seen look nearer.
    return seen, float((1 + (np.abs(means) >= abs(seen) - 1e-12).sum()) / (replicates + 1))
