"""What is known about the choice of teachers when a golden table is made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muki_pipeline.config import POSTERIORS
from muki_pipeline.routing.answers import wilson_interval
from muki_pipeline.routing.gate.gate import Estimate
from muki_pipeline.routing.router import Router


@dataclass(frozen=True)
class Audit:
    """How often the chosen teacher was right, by a person's answers to random texts.

    Attributes:
        texts: How many texts.
        right: Those of them whose chosen teacher knows the label.
        low: Lower end of the 95 % interval of that share (Wilson 1927).
        high: Its upper end.
    """

    texts: int
    right: int
    low: float
    high: float


@dataclass(frozen=True)
class RoutingSummary:
    """What is known, without labels, about the choice of teachers.

    Attributes:
        teachers: For each teacher, how many texts it is most likely right for: `texts`.
        estimate: What the gate knows about itself; None for other scorers and for a single teacher.
        audit: What a person's answers say; None where there are none.
    """

    teachers: dict[str, dict[str, int]]
    estimate: Estimate | None
    audit: Audit | None


def read_summary(content: Mapping[str, Any] | None) -> RoutingSummary | None:
    """What a golden table's manifest holds of a summary, as it was."""
    if content is None:
        return None
    estimate = content["estimate"]
    if estimate is not None:
        counts = {name: tuple(estimate[name]) for name in ("audited", "audited_right")}
        estimate = Estimate(**estimate | counts)
    return RoutingSummary(content["teachers"], estimate, audit_of(estimate))


def audit_of(estimate: Estimate | None) -> Audit | None:
    """The answers that a gate has read."""
    if estimate is None or not sum(estimate.audited):
        return None
    right, texts = sum(estimate.audited_right), sum(estimate.audited)
    return Audit(texts, right, *wilson_interval(right, texts))


@dataclass(frozen=True)
class ShardSums:
    """What the routing summary is computed from.

    Attributes:
        taught: Texts with a weight above 0.
        chosen: `[teachers]`, texts for which each teacher has the best score.
    """

    taught: int
    chosen: NDArray[np.int64]


def summarise(router: Router, sums: Sequence[ShardSums]) -> RoutingSummary | None:
    """The whole corpus's summary; None where scores are no posterior."""
    if router.scorer not in POSTERIORS:
        return None
    chosen = np.sum([shard.chosen for shard in sums], axis=0)
    teachers = {name: {"texts": int(count)} for name, count in zip(router.teachers, chosen, strict=True)}
    return RoutingSummary(teachers, router.estimate, audit_of(router.estimate))
