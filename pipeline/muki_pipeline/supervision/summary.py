"""What is known about the choice of teachers when a golden table is made."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from muki_pipeline.config import POSTERIORS
from muki_pipeline.labels.space import LabelSpace
from muki_pipeline.routing.gate.gate import Estimate
from muki_pipeline.routing.router import Router

Floats = NDArray[np.floating]

_STARVED = 0.3
"""On 20 settings labels of good teachers that had at least half of their texts were above it."""
_FEWEST = 10
"""Answers that a share is taken of."""


@dataclass(frozen=True)
class Audit:
    """How often the right teacher is chosen, by a person's answers to random texts; see `routing/accuracy.py`.

    Attributes:
        texts: How many texts were answered.
        share: The share of the corpus whose right teacher is chosen.
        low: Lower end of its 95 % interval.
        high: Its upper end.
    """

    texts: int
    share: float
    low: float
    high: float


@dataclass(frozen=True)
class Starved:
    """A label that hardly any text is taught as, though a teacher that knows it gives it to many.

    Texts that a teacher gives a label are its own texts and foreign ones, which it must call something. Where another
    teacher's label takes nearly all of them, the student will not know the label; or the corpus has no such texts.

    Attributes:
        label: The label.
        answered: Texts that a teacher gives it.
        taught: Texts whose target it is.
        rival: The label that most of its texts are taught as instead.
        taken: How many of them.
    """

    label: str
    answered: int
    taught: int
    rival: str
    taken: int


@dataclass(frozen=True)
class RoutingSummary:
    """What is known, without labels, about the choice of teachers.

    Attributes:
        teachers: For each teacher, how many texts it is most likely right for: `texts`.
        estimate: What the gate knows about itself; None for other scorers and for a single teacher.
        audit: What a person's answers say; None where there are none.
        starved: Labels that hardly any text is taught as, the worst first.
    """

    teachers: dict[str, dict[str, int]]
    estimate: Estimate | None
    audit: Audit | None
    starved: tuple[Starved, ...]


def read_summary(content: Mapping[str, Any] | None) -> RoutingSummary | None:
    """What a golden table's manifest holds of a summary, as it was."""
    if content is None:
        return None
    estimate = content["estimate"]
    if estimate is not None:
        estimate = Estimate(**estimate | {"audit": tuple(estimate["audit"])})
    starved = tuple(Starved(**each) for each in content["starved"])
    return RoutingSummary(content["teachers"], estimate, audit_of(estimate), starved)


def audit_of(estimate: Estimate | None) -> Audit | None:
    """The answers that a gate has read."""
    if estimate is None or not estimate.audit:
        return None
    texts, share, low, high = estimate.audit
    return Audit(int(texts), share, low, high)


@dataclass
class Sums:
    """What the routing summary is computed from, of a shard or of several.

    Attributes:
        taught: Texts with a weight above 0.
        foreign: Texts that seem to belong to no teacher's labels.
        chosen: `[teachers]`, texts for which each teacher has the best score.
        targets: How many taught texts have each label, by its column of the union, as their target.
        taught_as: For every pair of a label that a teacher gives a text and the label that the text is taught as, by
            their columns of the union: how many taught texts.
    """

    taught: int
    foreign: int
    chosen: NDArray[np.int64]
    targets: Counter[int]
    taught_as: Counter[tuple[int, int]]

    @classmethod
    def none(cls, teachers: int) -> Self:
        """Of no shard."""
        return cls(0, 0, np.zeros(teachers, np.int64), Counter(), Counter())

    def add(self, other: Self) -> None:
        """Count another shard's too; the order does not matter."""
        self.taught += other.taught
        self.foreign += other.foreign
        self.chosen = self.chosen + other.chosen
        self.targets.update(other.targets)
        self.taught_as.update(other.taught_as)


def pairs(
    target: Floats, distributions: Sequence[Floats], is_silent: NDArray[np.bool_], label_space: LabelSpace
) -> Counter[tuple[int, int]]:
    """See `Sums.taught_as`.

    Args:
        target: `[rows, union]`.
        distributions: For each teacher `[rows, its labels]`.
        is_silent: `[rows, teachers]`, whether a teacher has no answer.
        label_space: The union, and each teacher's columns of it.
    """
    union = target.shape[1]
    answers = [columns[each.argmax(axis=1)] for columns, each in zip(label_space.columns, distributions, strict=True)]
    codes = np.stack(answers, axis=1) * union + target.argmax(axis=1)[:, None]
    codes[is_silent] = -1
    codes.sort(axis=1)
    codes[:, 1:][codes[:, 1:] == codes[:, :-1]] = -1  # a label that several teachers give a text
    found, counts = np.unique(codes[codes >= 0], return_counts=True)
    return Counter({divmod(code, union): count for code, count in zip(found.tolist(), counts.tolist(), strict=True)})


def starved_labels(
    taught_as: Mapping[tuple[int, int], int], taught: Counter[int], labels: Sequence[str]
) -> list[Starved]:
    """The labels that are the target of less than 0.3 of what is usual among as many answers, the worst first.

    Args:
        taught_as: See `Sums`, of the whole corpus.
        taught: How many texts have each label as their target.
        labels: The union.
    """
    answered: Counter[int] = Counter()
    rivals: dict[int, Counter[int]] = {}
    for (answer, target), count in taught_as.items():
        answered[answer] += count
        if answer != target:
            rivals.setdefault(answer, Counter())[target] += count
    usual = taught.total() / max(answered.total(), 1)
    shares = {answer: taught[answer] / (usual * count) for answer, count in answered.items() if count >= _FEWEST}
    found = []
    for answer in sorted(shares, key=lambda each: (shares[each], each)):
        if shares[answer] < _STARVED and answer in rivals:
            rival, taken = min(rivals[answer].items(), key=lambda each: (-each[1], each[0]))
            found.append(Starved(labels[answer], answered[answer], taught[answer], labels[rival], taken))
    return found


def summarise(router: Router, sums: Sums) -> RoutingSummary | None:
    """The whole corpus's summary; None where scores are no posterior."""
    if router.scorer not in POSTERIORS:
        return None
    teachers = {name: {"texts": int(count)} for name, count in zip(router.teachers, sums.chosen, strict=True)}
    starved = starved_labels(sums.taught_as, sums.targets, router.labels)
    return RoutingSummary(teachers, router.estimate, audit_of(router.estimate), tuple(starved))
