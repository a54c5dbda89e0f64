"""Scores and distributions become golden targets and weights (docs/method.md, steps 4 to 7). Pure array functions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from muki_pipeline.labels.space import LabelSpace
from muki_pipeline.routing.confidence import softmax

Floats = NDArray[np.floating]

SILENT = -1
"""Stands for the column of an answer where there is none."""
MARGIN_FLOOR = 1e-6
"""Added to every margin, so that a text on which teachers tie still counts a little (1e-6 in the reference)."""


def golden_targets(weights: Floats, distributions: Sequence[Floats], label_space: LabelSpace) -> NDArray[np.float32]:
    """The golden supervision: every teacher's distribution, weighted, on the union's columns.

    Labels that several teachers share are summed; a label that no chosen teacher knows is 0.

    Args:
        weights: `[rows, teachers]`, each row sums to 1.
        distributions: For each teacher `[rows, its labels]`, each row sums to 1.
        label_space: Where each teacher's labels stand in the union.

    Returns:
        `[rows, union]` float32, each row sums to 1.
    """
    targets = np.zeros((len(weights), len(label_space.labels)), order="F")  # a label's column at a time
    for number, (distribution, columns) in enumerate(zip(distributions, label_space.columns, strict=True)):
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


@dataclass(frozen=True)
class Strategy:
    """A rule that weighs the teachers of each text.

    Attributes:
        weigh: Scores `[rows, teachers]`, energies at temperature T `[rows, teachers]` and τ -> the teachers' weights
            `[rows, teachers]`, each row sums to 1.
        reads_energies: Whether it reads the energies.
        loss: Name of the student's loss, one of `training/student/losses.py`.
        keeps_teachers_apart: Whether that loss needs each teacher's own distribution.
        selects: Whether its weights follow the scores.
        reads_features: Whether that loss reads what the teachers' heads read (`label.features`).
        needs_posterior: Whether scores must be probabilities of being the right teacher (`config.NEED_POSTERIOR`).
    """

    weigh: Callable[[Floats, Floats, float], Floats]
    reads_energies: bool = False
    loss: str = "kl"
    keeps_teachers_apart: bool = False
    selects: bool = True
    reads_features: bool = False
    needs_posterior: bool = False


_CONCAT = Strategy(lambda scores, energies, temperature: concat_weights(energies), reads_energies=True, selects=False)

STRATEGIES: dict[str, Strategy] = {
    "soft": Strategy(lambda scores, energies, temperature: soft_weights(scores, temperature)),
    "hard": Strategy(lambda scores, energies, temperature: hard_weights(scores)),
    "posterior": Strategy(lambda scores, energies, temperature: scores, needs_posterior=True),
    "concat": _CONCAT,
    # Soft targets as in vanilla distillation, and features besides.
    "cfl": replace(_CONCAT, loss="cfl", reads_features=True),
    "dfa": replace(_CONCAT, loss="dfa", reads_features=True),
    # The student learns from each teacher separately; the target is only their plain average.
    "uhc": Strategy(
        lambda scores, energies, temperature: np.full_like(scores, 1.0 / scores.shape[1]),
        loss="uhc",
        keeps_teachers_apart=True,
        selects=False,
    ),
}


def best_teacher(scores: Floats) -> NDArray[np.intp]:
    """Number of the teacher with the best score of each row; the first of equals."""
    best: NDArray[np.intp] = np.argmax(scores, axis=1)
    return best


def teacher_margins(
    scores: Floats, answers: NDArray[np.intp] | None = None, chosen: NDArray[np.intp] | None = None
) -> NDArray[np.float64]:
    """Best less second-best score, plus `MARGIN_FLOOR`: small where teachers conflict (MUKI, Eq. 9).

    With one teacher there is no conflict: every margin is 1. Teachers of the same answer do not conflict either, and
    count as one with the sum of their scores, which are then probabilities. Teachers without an answer cannot be the
    best: a text that seems to be for one of them counts hardly.

    Args:
        scores: `[rows, teachers]`.
        answers: `[rows, teachers]`, a number for each teacher's answer, `SILENT` for none; all differ by default.
        chosen: `[rows]`, the teacher whose lead it is; by default one of the best answer.
    """
    if scores.shape[1] == 1:
        return np.ones(len(scores))
    if answers is None:
        two_best = np.partition(scores, -2, axis=1)[:, -2:]
        return np.asarray(two_best[:, 1] - two_best[:, 0] + MARGIN_FLOOR, dtype=np.float64)
    is_silent, rows = answers == SILENT, np.arange(len(scores))
    columns = range(scores.shape[1])
    same = [(answers == answers[:, [each]]) & ~is_silent for each in columns]
    together = np.stack([np.where(agrees, scores, 0.0).sum(axis=1) for agrees in same], axis=1)
    together = np.where(is_silent, scores, together)
    best = np.where(is_silent, -np.inf, together).argmax(axis=1) if chosen is None else chosen
    is_own = (answers == answers[rows, best][:, None]) & ~is_silent
    others = np.where(is_own, -np.inf, together).max(axis=1)
    lead = together[rows, best] - np.where(np.isneginf(others), 0.0, others)  # probabilities: nobody else has any
    return np.asarray(np.maximum(lead, 0.0) + MARGIN_FLOOR, dtype=np.float64)
