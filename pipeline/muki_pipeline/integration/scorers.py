"""Which teacher to trust on which text: the scorers. Some of them are fitted to the unlabelled corpus.

A scorer returns `[rows, teachers]`, higher for the teacher that is more likely to be right. To add one: a function
that fits it, a line in `SCORERS`, and its name in `config.Scorer`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from muki_pipeline.integration.confidence import CONFIDENCES, StoredOutputs, mutual_information, softmax
from muki_pipeline.integration.label_space import LabelSpace
from muki_pipeline.integration.routing.answers import Anchors
from muki_pipeline.integration.routing.audit import anchored
from muki_pipeline.integration.routing.gate import Router, Texts, fit_router, standardiser

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class TeacherOutputs:
    """What every teacher's label table holds for some texts.

    Attributes:
        texts: The texts; None where the scorer does not read them.
        teachers: Stored numbers of each teacher, in the order in which params.yaml lists them.
        label_space: The union of their labels.
        embeddings: `[rows, size]`, neutral embeddings of the texts; None where the scorer does not read them.
        names: `[size, union]`, neutral embeddings of the labels' names; likewise.
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


Score = Callable[[TeacherOutputs], Floats]


@dataclass(frozen=True)
class Scorer:
    """A scorer.

    Attributes:
        columns: The columns of a label shard that it reads.
        fit: A sample of the corpus -> a function that scores any part of it.
        needs_sample: Whether `fit` uses the sample at all.
        reads_texts: Whether it reads the texts, their neutral embeddings and those of the labels' names.
    """

    columns: tuple[str, ...]
    fit: Callable[[TeacherOutputs], Score]
    needs_sample: bool = True
    reads_texts: bool = False


def measure(name: str, outputs: TeacherOutputs) -> NDArray[np.float64]:
    """A confidence of every teacher, `[rows, teachers]`, each from its own numbers alone."""
    confidence = CONFIDENCES[name].measure
    return np.stack([confidence(*pair) for pair in zip(outputs.teachers, outputs.label_counts, strict=True)], axis=1)


def _unfitted(name: str) -> Scorer:
    return Scorer(CONFIDENCES[name].columns, lambda sample: partial(measure, name), needs_sample=False)


def fit_standardised(name: str, sample: TeacherOutputs) -> Score:
    """Each teacher's confidence, standardised over the corpus: one scale for all teachers."""
    standardise = standardiser(measure(name, sample))
    return lambda outputs: standardise(measure(name, outputs))


_MI_FLOOR = 1e-6
"""Below it a mutual information of float32 entropies is rounding, nats."""
TWO_SCORES = ("logits", "entropy", "expected_entropy")


def _two_scores(outputs: TeacherOutputs) -> NDArray[np.float64]:
    """Energy and -log mutual information, `[rows, teachers, 2]`: the two scores whose errors are least alike."""
    information = [
        np.maximum(mutual_information(teacher.entropy, teacher.expected_entropy), _MI_FLOOR)
        for teacher in outputs.teachers
    ]
    return np.stack([measure("energy", outputs), -np.log(np.stack(information, axis=1))], axis=-1)


def fit_calibrated(sample: TeacherOutputs) -> Score:
    """Posterior of each teacher, softmax of the sum of its two standardised scores."""
    standardise = standardiser(_two_scores(sample))
    return lambda outputs: softmax(standardise(_two_scores(outputs)).sum(axis=-1))


@dataclass(frozen=True)
class Gate:
    """Posterior of each teacher by scores, words, embeddings and label names (`integration/routing/gate.py`).

    Attributes:
        router: The fitted views.
    """

    router: Router

    def __call__(self, outputs: TeacherOutputs) -> NDArray[np.float64]:
        """`[rows, teachers]`, each row sums to 1."""
        posterior = self.router(gate_texts(outputs))
        return posterior if outputs.anchors is None else anchored(posterior, outputs.anchors, outputs.label_space)

    def evidence(self, outputs: TeacherOutputs) -> dict[str, NDArray[np.float64]]:
        """Logits of every teacher by each view, `[rows, teachers]`."""
        return self.router.evidence(gate_texts(outputs))


def fit_gate(sample: TeacherOutputs) -> Gate:
    """The gate, from a sample of the corpus."""
    if sample.names is None:
        raise ValueError("the gate reads embeddings of the label names")
    return Gate(fit_router(gate_texts(sample), sample.names, sample.label_space, sample.anchors))


def gate_texts(outputs: TeacherOutputs) -> Texts:
    """What the gate reads of the teachers' outputs."""
    if outputs.texts is None or outputs.embeddings is None:
        raise ValueError("the gate reads texts and embeddings")
    distributions = [softmax(teacher.logits) for teacher in outputs.teachers]
    return Texts(_two_scores(outputs), distributions, outputs.texts, outputs.embeddings)


SCORERS: dict[str, Scorer] = {
    **{name: _unfitted(name) for name in CONFIDENCES if name != "energy"},
    "energy": Scorer(CONFIDENCES["energy"].columns, partial(fit_standardised, "energy")),
    "calibrated": Scorer(TWO_SCORES, fit_calibrated),
    "gate": Scorer(TWO_SCORES, fit_gate, reads_texts=True),
}
