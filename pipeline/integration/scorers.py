"""Which teacher to trust on which text: the scorers. Some of them are fitted to the unlabelled corpus.

A scorer returns `[rows, teachers]`, higher for the teacher that is more likely to be right. To add one: a function
that fits it, a line in `SCORERS`, and its name in `config.Scorer`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from pipeline.integration.confidence import CONFIDENCES, StoredOutputs, mutual_information, softmax
from pipeline.integration.routing.gate import Router, cotrain

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class TeacherOutputs:
    """What every teacher's label table holds for some texts.

    Attributes:
        texts: The texts; empty where the scorer does not read them.
        teachers: Stored numbers of each teacher, in the order in which params.yaml lists them.
        label_counts: How many labels each teacher has.
    """

    texts: Sequence[str]
    teachers: Sequence[StoredOutputs]
    label_counts: Sequence[int]


Score = Callable[[TeacherOutputs], Floats]


@dataclass(frozen=True)
class Scorer:
    """A scorer.

    Attributes:
        columns: The columns of a label shard that it reads.
        fit: A sample of the corpus -> a function that scores any part of it.
        needs_sample: Whether `fit` uses the sample at all.
        reads_texts: Whether it reads the texts.
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
    standardise = _standardise(measure(name, sample))
    return lambda outputs: standardise(measure(name, outputs))


_MI_FLOOR = 1e-6
"""Below it a mutual information of float32 entropies is rounding, nats."""
TWO_SCORES = ("logits", "entropy", "expected_entropy")


def _two_scores(outputs: TeacherOutputs) -> NDArray[np.float64]:
    """Energy and -log mutual information, `[rows, teachers, 2]`: the two scores whose errors are least alike."""
    information = [
        np.maximum(mutual_information(each.entropy, each.expected_entropy), _MI_FLOOR) for each in outputs.teachers
    ]
    return np.stack([measure("energy", outputs), -np.log(np.stack(information, axis=1))], axis=-1)


def _standardise(sample: NDArray[np.float64]) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """Subtract each teacher's mean over the corpus and divide by its standard deviation: one scale for all teachers."""
    mean, deviation = sample.mean(axis=0), np.maximum(sample.std(axis=0), 1e-12)
    return lambda scores: (scores - mean) / deviation


def fit_calibrated(sample: TeacherOutputs) -> Score:
    """Posterior of each teacher, softmax of the sum of its two standardised scores."""
    standardise = _standardise(_two_scores(sample))
    return lambda outputs: softmax(standardise(_two_scores(outputs)).sum(axis=-1))


@dataclass(frozen=True)
class Gate:
    """Posterior of each teacher by its two standardised scores and by the text's words (`pipeline.gate`).

    Attributes:
        standardise: Brings the two scores to one scale.
        router: Scores and words, calibrated on each other.
    """

    standardise: Callable[[NDArray[np.float64]], NDArray[np.float64]]
    router: Router

    def __call__(self, outputs: TeacherOutputs) -> NDArray[np.float64]:
        """`[rows, teachers]`, each row sums to 1."""
        return self.router(self.standardise(_two_scores(outputs)), outputs.texts)


def fit_gate(sample: TeacherOutputs) -> Gate:
    """The gate, from a sample of the corpus."""
    standardise = _standardise(_two_scores(sample))
    scores = standardise(_two_scores(sample))
    # Mutual information is the better start: it depends less than energy on how a teacher was trained.
    return Gate(standardise, cotrain(scores, scores[..., 1], sample.texts))


SCORERS: dict[str, Scorer] = {
    **{name: _unfitted(name) for name in CONFIDENCES if name != "energy"},
    "energy": Scorer(CONFIDENCES["energy"].columns, partial(fit_standardised, "energy")),
    "calibrated": Scorer(TWO_SCORES, fit_calibrated),
    "gate": Scorer(TWO_SCORES, fit_gate, reads_texts=True),
}
