"""Scores + distributions -> golden targets and weights (method.md, points 4 to 7). Pure array functions."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.uncertainty import softmax
from pipeline.vocabulary import Vocabulary

Floats = NDArray[np.floating]

MARGIN_FLOOR = 1e-6
"""Added to every margin, so that a text on which teachers tie is not forgotten altogether (the reference's 1e-6)."""


def golden_targets(weights: Floats, distributions: Sequence[Floats], vocabulary: Vocabulary) -> NDArray[np.float32]:
    """The golden supervision: every teacher's distribution, weighted, on the union's columns.

    Labels that several teachers share are summed; a label that no chosen teacher knows is 0.

    Args:
        weights: `[rows, teachers]`, each row sums to 1.
        distributions: For each teacher `[rows, its labels]`, each row sums to 1.
        vocabulary: Where each teacher's labels stand in the union.

    Returns:
        `[rows, union]` float32, each row sums to 1.
    """
    targets = np.zeros((len(weights), len(vocabulary.labels)), order="F")  # a label's column at a time
    for number, (distribution, columns) in enumerate(zip(distributions, vocabulary.columns, strict=True)):
        targets[:, columns] += weights[:, number, None] * distribution
    targets /= targets.sum(axis=1, keepdims=True)
    return targets.astype(np.float32, order="C")


def soft_weights(scores: Floats, temperature: float) -> NDArray[np.float64]:
    """Share of each teacher in a text's target: softmax(s / τ), `[rows, teachers]` (MUKI, Eq. 8)."""
    return softmax(scores, temperature)


def hard_weights(scores: Floats) -> NDArray[np.float64]:
    """1 for the teacher with the best score, the first of equals, 0 for the others (MUKI, Eq. 7)."""
    return np.eye(scores.shape[1])[best_teacher(scores)]


def concat_weights(energies: Floats) -> NDArray[np.float64]:
    """Vanilla distillation as weights, whatever the scores.

    One softmax over the concatenated logits of all teachers is Σ_i w_i q_i with w = softmax of each teacher's
    log Σ exp(f_i / T).

    Args:
        energies: `[rows, teachers]`, that log-sum-exp.
    """
    return softmax(energies)


STRATEGIES: dict[str, Callable[[Floats, Floats, float], Floats]] = {
    "soft": lambda scores, energies, temperature: soft_weights(scores, temperature),
    "hard": lambda scores, energies, temperature: hard_weights(scores),
    # For scorers whose scores are probabilities of being the right teacher already.
    "posterior": lambda scores, energies, temperature: scores,
    "concat": lambda scores, energies, temperature: concat_weights(energies),
    # The student learns from each teacher apart (student.uhc_loss); their plain average is what they say on the whole.
    "uhc": lambda scores, energies, temperature: np.full_like(scores, 1.0 / scores.shape[1]),
}
"""Rules that weigh teachers, `[rows, teachers]`, each row summing to 1: of scores, energies at temperature T, and τ."""


def best_teacher(scores: Floats) -> NDArray[np.intp]:
    """Number of the teacher with the best score of each row; the first of equals."""
    best: NDArray[np.intp] = np.argmax(scores, axis=1)
    return best


def margins(scores: Floats) -> NDArray[np.float64]:
    """Best less second-best score, plus `MARGIN_FLOOR`: small where teachers conflict (MUKI, Eq. 9).

    With one teacher there is no conflict: every margin is 1.
    """
    if scores.shape[1] == 1:
        return np.ones(len(scores))
    two_best = np.partition(scores, -2, axis=1)[:, -2:]
    return np.asarray(two_best[:, 1] - two_best[:, 0] + MARGIN_FLOOR, dtype=np.float64)
