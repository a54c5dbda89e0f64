"""The gate's views: each says of every text how likely each teacher is to be right, from something of its own.

To add one: a class with `fit` and `__call__`, and a field of `gate.Views`.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.special import logsumexp

from muki_pipeline.labels.space import LabelSpace
from muki_pipeline.routing.gate.calibration import Calibration, fit_factor
from muki_pipeline.routing.gate.gaussian import GaussianModel
from muki_pipeline.routing.gate.words import FOLDS, WordModel

Floats = NDArray[np.floating]

_SMALLEST_PROBABILITY = 1e-6


@dataclass(frozen=True)
class Prepared:
    """Some texts as the views read them.

    Attributes:
        scores: `[texts, teachers, 2]`, energy and -log mutual information, standardised over the corpus.
        names: `[texts, teachers, 2]`, see `name_features`.
        words: `[texts, words]`, see `WordIndex.bags`.
        meaning: `[texts, size + labels of all teachers]`, neutral embedding and answers, see `gate.Reader`.
        folds: `[texts]`, see `folds_of`.
        distributions: For each teacher `[texts, its labels]`, its distribution without dropout, sharpened.
        label_space: The union, and each teacher's columns of it.
    """

    scores: Floats
    names: Floats
    words: csr_array
    meaning: Floats
    folds: NDArray[np.intp]
    distributions: Sequence[Floats]
    label_space: LabelSpace


class View(Protocol):
    """One view."""

    @classmethod
    def fit(cls, texts: Prepared, posterior: Floats, targets: Floats) -> Self:
        """The view that agrees best with what is believed so far.

        Args:
            texts: A sample of the corpus.
            posterior: `[texts, teachers]`, each row sums to 1.
            targets: `[texts, labels]`, each row sums to 1.
        """

    def __call__(self, texts: Prepared) -> NDArray[np.float64]:
        """Logits of every teacher, `[texts, teachers]`."""


@dataclass(frozen=True)
class _CalibratedView(ABC):
    """Features of each teacher as calibrated log-odds."""

    calibration: Calibration

    @staticmethod
    @abstractmethod
    def features(texts: Prepared) -> Floats:
        """What it reads, `[texts, teachers, features]`."""

    @classmethod
    def fit(cls, texts: Prepared, posterior: Floats, targets: Floats) -> Self:
        """See `View`."""
        return cls(Calibration.fit(cls.features(texts), posterior))

    def __call__(self, texts: Prepared) -> NDArray[np.float64]:
        """See `View`."""
        return self.calibration(self.features(texts))


class ScoreView(_CalibratedView):
    """How certain each teacher is."""

    @staticmethod
    def features(texts: Prepared) -> Floats:
        """See `_CalibratedView`."""
        return texts.scores


class NameView(_CalibratedView):
    """How similar the text is to the labels' names. No teacher was trained with them."""

    @staticmethod
    def features(texts: Prepared) -> Floats:
        """See `_CalibratedView`."""
        return texts.names


@dataclass(frozen=True)
class ContentView:
    """Words, and embedding with answers, each a generative model of every label of the union.

    A teacher's evidence is log Σ_y q_i(y|x) p(x|y): how likely the text is, if the teacher's own answer is right.
    """

    words: WordModel
    word_factor: float
    meaning: GaussianModel
    meaning_factor: float

    @classmethod
    def fit(cls, texts: Prepared, posterior: Floats, targets: Floats) -> Self:
        """See `View`."""
        words = WordModel.fit(texts.words, texts.folds, targets)
        meaning = GaussianModel.fit(texts.meaning, texts.folds, targets)
        return cls(
            words,
            fit_factor(words(texts.words, texts.folds), targets),
            meaning,
            fit_factor(meaning(texts.meaning, texts.folds), targets),
        )

    def __call__(self, texts: Prepared) -> NDArray[np.float64]:
        """See `View`."""
        words = self.word_factor * self.words(texts.words, texts.folds)  # [texts, labels]
        meaning = self.meaning_factor * self.meaning(texts.meaning, texts.folds)
        return _teacher_evidence(words, texts) + _teacher_evidence(meaning, texts)


def _teacher_evidence(log_likelihoods: Floats, texts: Prepared) -> NDArray[np.float64]:
    """Log Σ_y q_i(y|x) p(x|y) of every teacher, `[texts, teachers]`."""
    evidence = [
        logsumexp(log_likelihoods[:, columns] + np.log(np.maximum(distribution, _SMALLEST_PROBABILITY)), axis=1)
        for columns, distribution in zip(texts.label_space.columns, texts.distributions, strict=True)
    ]
    return np.stack(evidence, axis=1)


def name_features(
    similarities: Floats, distributions: Sequence[Floats], label_space: LabelSpace
) -> NDArray[np.float64]:
    """`[texts, teachers, 2]`: similarity to the nearest of a teacher's names, and on average over its answer."""
    features = [
        np.stack([similarities[:, columns].max(axis=1), (similarities[:, columns] * distribution).sum(axis=1)], axis=-1)
        for columns, distribution in zip(label_space.columns, distributions, strict=True)
    ]
    return np.stack(features, axis=1)


def folds_of(texts: Sequence[str]) -> NDArray[np.intp]:
    """`[texts]`, a part of the corpus that depends on the text alone: equal texts are in one fold."""
    return np.array([crc32(text.encode()) % FOLDS for text in texts], dtype=np.intp)
