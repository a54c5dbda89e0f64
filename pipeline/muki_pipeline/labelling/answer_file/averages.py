"""A text's answers become what passes would: an average distribution and two entropies. Pure array functions."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import entr

SMALLEST = 1e-6
"""Probabilities count as at least this much in logarithms."""


class Averages(NamedTuple):
    """What is known of some texts.

    Attributes:
        answers: `[texts]`, how many there are.
        probs: `[texts, labels]`, their average; uniform where there is none.
        entropy: `[texts]`, of `probs`, nats.
        expected_entropy: `[texts]`, the average entropy of one answer, nats.
    """

    answers: NDArray[np.int32]
    probs: NDArray[np.float64]
    entropy: NDArray[np.float64]
    expected_entropy: NDArray[np.float64]


def average(texts: NDArray[np.intp], probs: NDArray[np.float64], count: int) -> Averages:
    """Average the answers of each text.

    Args:
        texts: `[answers]`, the number of the text that each one answers.
        probs: `[answers, labels]`, each row sums to 1.
        count: How many texts there are.
    """
    labels = probs.shape[1]
    answers = np.bincount(texts, minlength=count)
    mean, expected = np.full((count, labels), 1 / labels), np.full(count, np.log(labels))
    if len(texts):
        order = np.argsort(texts, kind="stable")
        answered, starts = np.unique(texts[order], return_index=True)
        sizes = answers[answered]
        mean[answered] = np.add.reduceat(probs[order], starts, axis=0) / sizes[:, None]
        expected[answered] = np.add.reduceat(entropies(probs)[order], starts) / sizes
    return Averages(answers.astype(np.int32), mean, entropies(mean), expected)


def entropies(probs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of distributions `[rows, labels]`, in nats."""
    return np.asarray(entr(probs).sum(axis=-1))


def logits_of(probs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logarithms of probabilities: logits whose softmax they are, but without a network's energy."""
    return np.asarray(np.log(np.maximum(probs, SMALLEST)))
