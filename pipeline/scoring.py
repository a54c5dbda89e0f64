"""Which teacher to trust on which text: the scorers, those fitted to the unlabelled corpus among them.

A scorer gives `[rows, teachers]`, higher for the surer teacher. To add one: a function that fits it, and a line in
`SCORERS`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from pipeline.gate import Router, cotrain
from pipeline.uncertainty import CONFIDENCES, Stored, mutual_information, softmax

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Said:
    """What every teacher said of some texts.

    Attributes:
        texts: The texts, empty where the scorer does not read them.
        teachers: Stored numbers of each teacher, in the order in which params.yaml lists them.
        labels: How many labels each has.
    """

    texts: Sequence[str]
    teachers: Sequence[Stored]
    labels: Sequence[int]


Score = Callable[[Said], Floats]


@dataclass(frozen=True)
class Scorer:
    """A scorer.

    Attributes:
        columns: What it reads of a label shard.
        fit: A sample of the corpus -> what scores any part of it.
        needs_sample: Whether `fit` looks at the sample at all.
        reads_texts: Whether it looks at the texts.
    """

    columns: tuple[str, ...]
    fit: Callable[[Said], Score]
    needs_sample: bool = True
    reads_texts: bool = False


def measure(name: str, said: Said) -> NDArray[np.float64]:
    """A confidence of every teacher, `[rows, teachers]`, each from its own numbers alone."""
    confidence = CONFIDENCES[name].measure
    return np.stack([confidence(*pair) for pair in zip(said.teachers, said.labels, strict=True)], axis=1)


def _as_it_is(name: str) -> Scorer:
    return Scorer(CONFIDENCES[name].columns, lambda sample: partial(measure, name), needs_sample=False)


def fit_standardised(name: str, sample: Said) -> Score:
    """Each teacher's confidence, less its mean and over its standard deviation on the corpus: one scale for all."""
    standardise = _standardise(measure(name, sample))
    return lambda said: standardise(measure(name, said))


_MI_FLOOR = 1e-6
"""Below it a mutual information of float32 entropies is rounding, nats."""
TWO_SCORES = ("logits", "entropy", "expected_entropy")


def _two_scores(said: Said) -> NDArray[np.float64]:
    """Energy and -log mutual information of every teacher, `[rows, teachers, 2]`: the two that err least alike."""
    information = [
        np.maximum(mutual_information(each.entropy, each.expected_entropy), _MI_FLOOR) for each in said.teachers
    ]
    return np.stack([measure("energy", said), -np.log(np.stack(information, axis=1))], axis=-1)


def _standardise(sample: NDArray[np.float64]) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """Less the mean, over the standard deviation, of each teacher over the corpus: scores come to one scale."""
    mean, deviation = sample.mean(axis=0), np.maximum(sample.std(axis=0), 1e-12)
    return lambda scores: (scores - mean) / deviation


def fit_calibrated(sample: Said) -> Score:
    """Posterior of each teacher, softmax of the sum of its two standardised scores."""
    standardise = _standardise(_two_scores(sample))
    return lambda said: softmax(standardise(_two_scores(said)).sum(axis=-1))


@dataclass(frozen=True)
class Gate:
    """Posterior of each teacher by its two standardised scores and by the text's words (`pipeline.gate`).

    Attributes:
        standardise: What brings the two scores to one scale.
        router: Scores and words, calibrated on each other.
    """

    standardise: Callable[[NDArray[np.float64]], NDArray[np.float64]]
    router: Router

    def __call__(self, said: Said) -> NDArray[np.float64]:
        """`[rows, teachers]`, each row sums to 1."""
        return self.router(self.standardise(_two_scores(said)), said.texts)


def fit_gate(sample: Said) -> Gate:
    """The gate, from a sample of the corpus."""
    standardise = _standardise(_two_scores(sample))
    scores = standardise(_two_scores(sample))
    # Mutual information is the better beginning: teachers differ less in it than in energy by how they were trained.
    return Gate(standardise, cotrain(scores, scores[..., 1], sample.texts))


SCORERS: dict[str, Scorer] = {
    **{name: _as_it_is(name) for name in CONFIDENCES if name != "energy"},
    "energy": Scorer(CONFIDENCES["energy"].columns, partial(fit_standardised, "energy")),
    "calibrated": Scorer(TWO_SCORES, fit_calibrated),
    "gate": Scorer(TWO_SCORES, fit_gate, reads_texts=True),
}
