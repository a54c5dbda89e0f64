"""Which teacher to trust on which text: the scorers. Some of them are fitted to the unlabelled corpus.

A scorer returns `[rows, teachers]`, higher for the teacher that is more likely to be right. To add one that is fitted:
a class whose `fit` makes it and whose call scores, a line in `SCORERS`, and its name in `config.Scorer`. One that reads
a teacher's own numbers alone is a line in `CONFIDENCES`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from muki_pipeline.labels.space import LabelSpace
from muki_pipeline.routing.answers import Anchors
from muki_pipeline.routing.audit import anchored
from muki_pipeline.routing.confidence import CONFIDENCES, StoredOutputs, softmax, two_scores
from muki_pipeline.routing.gate.gate import Gate, GateInputs
from muki_pipeline.routing.gate.scale import Scale

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class TeacherOutputs:
    """What every teacher's label table holds for some texts.

    Attributes:
        texts: The texts; None where the scorer does not read them.
        teachers: Stored numbers of each teacher, in the order in which params.yaml lists them.
        label_space: The union of their labels.
        embeddings: `[rows, size]`, neutral embeddings of the texts; None where the scorer does not read them.
        names: `[size, union]`, neutral embeddings of the labels' names; read by `fit` alone.
        anchors: Texts whose label a person has given; None where nobody was asked.
    """

    texts: Sequence[str] | None
    teachers: Sequence[StoredOutputs]
    label_space: LabelSpace
    embeddings: Floats | None = None
    names: Floats | None = None
    anchors: Anchors | None = None

    @property
    def label_counts(self) -> list[int]:
        """How many labels each teacher has."""
        return [len(columns) for columns in self.label_space.columns]

    @property
    def is_silent(self) -> NDArray[np.bool_]:
        """`[rows, teachers]`, whether a teacher has no answer, and so no vote."""
        return np.stack([teacher.is_silent for teacher in self.teachers], axis=1)


class Score(Protocol):
    """A fitted scorer: a dataclass of arrays and plain values, so that it can be stored."""

    @classmethod
    def fit(cls, name: str, sample: TeacherOutputs) -> Self:
        """Fit it to a sample of the corpus, under its name in `SCORERS`."""

    def __call__(self, outputs: TeacherOutputs) -> Floats:
        """Scores `[rows, teachers]` of any texts."""


def measure(name: str, outputs: TeacherOutputs) -> NDArray[np.float64]:
    """A confidence of every teacher, `[rows, teachers]`, each from its own numbers alone."""
    confidence = CONFIDENCES[name].measure
    return np.stack([confidence(*pair) for pair in zip(outputs.teachers, outputs.label_counts, strict=True)], axis=1)


@dataclass(frozen=True)
class Plain:
    """Each teacher's confidence as it is; see `CONFIDENCES`."""

    name: str

    @classmethod
    def fit(cls, name: str, sample: TeacherOutputs) -> Self:
        """See `Score`; the sample is not read."""
        return cls(name)

    def __call__(self, outputs: TeacherOutputs) -> Floats:
        """See `Score`."""
        return measure(self.name, outputs)


@dataclass(frozen=True)
class Standardised:
    """Each teacher's confidence, standardised over the corpus: one scale for all teachers."""

    name: str
    scale: Scale

    @classmethod
    def fit(cls, name: str, sample: TeacherOutputs) -> Self:
        """See `Score`."""
        return cls(name, Scale.fit(measure(name, sample)))

    def __call__(self, outputs: TeacherOutputs) -> Floats:
        """See `Score`."""
        return self.scale(measure(self.name, outputs))


_TWO_SCORES = ("logits", "entropy", "expected_entropy")


def _two_scores(outputs: TeacherOutputs) -> NDArray[np.float64]:
    """See `two_scores`, `[rows, teachers, 2]`."""
    return np.stack([two_scores(teacher) for teacher in outputs.teachers], axis=1)


@dataclass(frozen=True)
class Calibrated:
    """Posterior of each teacher, softmax of the sum of its two standardised scores."""

    scale: Scale

    @classmethod
    def fit(cls, name: str, sample: TeacherOutputs) -> Self:
        """See `Score`."""
        return cls(Scale.fit(_two_scores(sample)))

    def __call__(self, outputs: TeacherOutputs) -> Floats:
        """See `Score`."""
        return softmax(self.scale(_two_scores(outputs)).sum(axis=-1))


@dataclass(frozen=True)
class Gated:
    """Posterior of each teacher by scores, words, embeddings and label names; see `routing/gate/gate.py`."""

    gate: Gate

    @classmethod
    def fit(cls, name: str, sample: TeacherOutputs) -> Self:
        """See `Score`."""
        if sample.names is None:
            raise ValueError("the gate reads embeddings of the label names")
        return cls(Gate.fit(gate_inputs(sample), sample.names, sample.anchors))

    def __call__(self, outputs: TeacherOutputs) -> Floats:
        """See `Score`."""
        posterior = self.gate(gate_inputs(outputs))
        return posterior if outputs.anchors is None else anchored(posterior, outputs.anchors, outputs.label_space)


def gate_inputs(outputs: TeacherOutputs) -> GateInputs:
    """What the gate reads of the teachers' outputs."""
    if outputs.texts is None or outputs.embeddings is None:
        raise ValueError("the gate reads texts and embeddings")
    distributions = [softmax(teacher.logits) for teacher in outputs.teachers]
    return GateInputs(
        _two_scores(outputs),
        distributions,
        outputs.texts,
        outputs.embeddings,
        outputs.label_space,
        outputs.is_silent,
    )


@dataclass(frozen=True)
class Scorer:
    """A scorer.

    Attributes:
        title: It in a few words, for figures and pages.
        columns: The columns of a label shard that it reads.
        needs: See `Confidence`.
        kind: What is fitted to a sample of the corpus.
        reads_texts: Whether it reads the texts, their neutral embeddings and those of the labels' names.
    """

    title: str
    columns: tuple[str, ...]
    kind: type[Score]
    needs: tuple[str, ...] = ()
    reads_texts: bool = False


SCORERS: dict[str, Scorer] = {
    **{name: Scorer(each.title, each.columns, Plain, each.needs) for name, each in CONFIDENCES.items()},
    "energy": Scorer("energy, standardised", CONFIDENCES["energy"].columns, Standardised, CONFIDENCES["energy"].needs),
    "calibrated": Scorer("energy and mutual information", _TWO_SCORES, Calibrated),
    "gate": Scorer("three views", _TWO_SCORES, Gated, reads_texts=True),
}
