"""What is known about the choice of teachers when a golden table is made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muki_pipeline.config import POSTERIORS
from muki_pipeline.routing.gate.gate import Estimate
from muki_pipeline.routing.router import Router


@dataclass(frozen=True)
class RoutingSummary:
    """What is known, without labels, about the choice of teachers.

    Attributes:
        mean_posterior: Mean of the highest posterior.
        teachers: For each teacher, how many texts it is most likely right for, and its mean posterior on them.
        estimate: What the gate knows about itself; None for other scorers and for a single teacher.
    """

    mean_posterior: float
    teachers: dict[str, dict[str, float]]
    estimate: Estimate | None


def read_summary(content: Mapping[str, Any] | None) -> RoutingSummary | None:
    """What a golden table's manifest holds of a summary, as it was."""
    if content is None:
        return None
    estimate = content["estimate"]
    if estimate is not None:
        counts = {name: tuple(estimate[name]) for name in ("audited", "audited_right")}
        estimate = Estimate(**estimate | counts)
    return RoutingSummary(content["mean_posterior"], content["teachers"], estimate)


@dataclass(frozen=True)
class ShardSums:
    """What the routing summary is computed from.

    Attributes:
        taught: Texts with a weight above 0.
        chosen: `[teachers]`, texts for which each teacher has the best score.
        scores: `[teachers]`, sum of the best scores of these texts.
    """

    taught: int
    chosen: NDArray[np.int64]
    scores: NDArray[np.float64]


def summarise(router: Router, sums: Sequence[ShardSums]) -> RoutingSummary | None:
    """The whole corpus's summary; None where scores are no posterior."""
    if router.scorer not in POSTERIORS:
        return None
    chosen = np.sum([shard.chosen for shard in sums], axis=0)
    scores = np.sum([shard.scores for shard in sums], axis=0)
    teachers = {
        name: {"texts": int(count), **({"mean_posterior": float(total / count)} if count else {})}
        for name, count, total in zip(router.teachers, chosen, scores, strict=True)
    }
    return RoutingSummary(float(scores.sum() / chosen.sum()), teachers, router.estimate)
