"""Which teacher a text is for: a posterior from several views that teach each other, without any label.

The views are the teachers' scores, the text's content (words; neutral embedding with the teachers' answers) and the
labels' names; see `views`. A teacher that is too modest is sharpened first: its answers must compare with the others'.
The views begin with mutual information and names, standardised over the corpus: two witnesses that err for different
reasons. Names count most, because no teacher's training bends them. In each round the posterior r gives every text a
distribution over the union's labels, Σ_i r_i q_i. The content view learns from it, scores and names are calibrated on r
(co-training, Blum & Mitchell 1998), each view is made as sure as it is accurate by what the views' agreement says, and
their sum is the next r.

Texts whose label a person has given are anchors: r is known there, and they tell how accurate the views are.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from muki_pipeline.labels.space import LabelSpace
from muki_pipeline.routing.accuracy import FEWEST
from muki_pipeline.routing.answers import NO_ANCHORS, Anchors
from muki_pipeline.routing.audit import Audit, anchored
from muki_pipeline.routing.gate.agreement import estimated_accuracies, has_drifted, kappa, least_agreement
from muki_pipeline.routing.gate.calibration import sharpened, sharpening_to, sharpness
from muki_pipeline.routing.gate.meaning import Meaning
from muki_pipeline.routing.gate.scale import Scale
from muki_pipeline.routing.gate.scope import Scope
from muki_pipeline.routing.gate.views import ContentView, NameView, Prepared, ScoreView, folds_of, name_features
from muki_pipeline.routing.gate.words import WordIndex
from muki_pipeline.routing.silence import voting

Floats = NDArray[np.floating]

_MOST_ROUNDS = 24
_SETTLED = 0.005
"""The rounds end when fewer texts than this share change their teacher: further ones only drift."""
_SURE = 0.8
"""Least mean of a teacher's highest probability over the corpus. Trained to the end, teachers have 0.7 to 0.95 there,
foreign texts included; one that was hardly trained has 0.4, though 0.9 of its answers to its own texts are right."""
_MOST_SHARPENED = 10.0
"""Answers that are equal cannot be told apart by any power, and those that nearly are must not become certainties."""
_BELIEVED = 0.9
"""Mean of the highest posterior that a round may pass on: views that believe themselves more drift faster."""


@dataclass(frozen=True)
class GateInputs:
    """What the gate reads of some texts.

    Attributes:
        scores: `[texts, teachers, 2]`, energy and -log mutual information.
        distributions: For each teacher `[texts, its labels]`, its distribution without dropout.
        texts: The texts.
        embeddings: `[texts, size]`, neutral embeddings of length 1.
        label_space: The union, and each teacher's columns of it.
        is_silent: `[texts, teachers]`, whether a teacher has no answer; None where all answer.
    """

    scores: Floats
    distributions: Sequence[Floats]
    texts: Sequence[str]
    embeddings: Floats
    label_space: LabelSpace
    is_silent: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class Reader:
    """Prepares texts for the views.

    Attributes:
        names: `[size, labels]`, neutral embeddings of the union's label names, of length 1.
        index: The corpus's words.
        score_scale: Of the teachers' scores.
        name_scale: Of each name's similarities.
        meaning: Of embedding and answers.
        sharpening: `[teachers]`, the power of each teacher's probabilities at which it is sure enough, 1 or more.
    """

    names: Floats
    index: WordIndex
    score_scale: Scale
    name_scale: Scale
    meaning: Meaning
    sharpening: NDArray[np.float64]

    @classmethod
    def fit(cls, sample: GateInputs, names: Floats) -> Self:
        """The reader of a corpus, from a sample."""
        similarities, sharpening = Scale.fit(_similarities(sample, names)), _sharpening(sample)
        meaning = Meaning.fit(sample.embeddings, _sharpened(sample, sharpening))
        return cls(names, WordIndex.fit(sample.texts), Scale.fit(sample.scores), similarities, meaning, sharpening)

    def __call__(self, texts: GateInputs) -> Prepared:
        """The texts as the views read them."""
        similarities = self.name_scale(_similarities(texts, self.names))
        distributions = _sharpened(texts, self.sharpening)
        return Prepared(
            scores=self.score_scale(texts.scores),
            names=name_features(similarities, distributions, texts.label_space),
            words=self.index.bags(texts.texts),
            meaning=self.meaning(texts.embeddings, distributions),
            folds=folds_of(texts.texts),
            distributions=distributions,
            label_space=texts.label_space,
        )


@dataclass(frozen=True)
class Views:
    """One round's views.

    Attributes:
        scores: See `ScoreView`.
        content: See `ContentView`.
        names: See `NameView`.
        factors: For each of them, the factor that makes it as sure as it is accurate.
        total_factor: The same for their sum.
    """

    scores: ScoreView
    content: ContentView
    names: NameView
    factors: dict[str, float]
    total_factor: float

    @classmethod
    def fit(cls, texts: Prepared, posterior: Floats, targets: Floats) -> Self:
        """The views that agree best with what is believed so far, not yet sharpened."""
        given = (texts, posterior, targets)
        ones = {"scores": 1.0, "content": 1.0, "names": 1.0}
        return cls(ScoreView.fit(*given), ContentView.fit(*given), NameView.fit(*given), ones, 1.0)

    def evidence(self, texts: Prepared) -> dict[str, NDArray[np.float64]]:
        """Logits of every teacher by each view, `[texts, teachers]`, not sharpened."""
        return {"scores": self.scores(texts), "content": self.content(texts), "names": self.names(texts)}

    def sharpened(self, evidence: dict[str, NDArray[np.float64]], accuracies: dict[str, float], audit: Audit) -> Self:
        """Each view as sure as it is accurate, and their sum as sure as anchors say, or no surer than `_BELIEVED`."""
        factors = {name: sharpness(logits, accuracies[name]) for name, logits in evidence.items()}
        sharp = replace(self, factors=factors, total_factor=1.0)
        total = sharp.total(evidence)
        must_change = audit.anchors.is_random.any() or softmax(total, axis=1).max(axis=1).mean() > _BELIEVED
        return replace(sharp, total_factor=sharpness(total, audit.accuracy(total, _BELIEVED))) if must_change else sharp

    def total(self, evidence: dict[str, NDArray[np.float64]]) -> NDArray[np.float64]:
        """Logits of every teacher by all views together."""
        parts = [self.factors[name] * logits for name, logits in evidence.items()]
        logits: NDArray[np.float64] = self.total_factor * np.sum(parts, axis=0)
        return logits

    def posterior(self, evidence: dict[str, NDArray[np.float64]]) -> NDArray[np.float64]:
        """Probability of every teacher, `[texts, teachers]`."""
        return np.asarray(softmax(self.total(evidence), axis=1))


@dataclass(frozen=True)
class Estimate:
    """What the gate knows about itself.

    Attributes:
        agreement: Smallest kappa of two views in the first round, before they taught each other.
        has_drifted: Whether the content came to contradict the names, which no teacher has learned. The round in which
            they agreed best is then kept.
        accuracies: Estimated accuracy of each view.
        rounds: How many rounds there were.
        audit: How many anchors were drawn at random, the share of right teachers by them, and the ends of its 95 %
            interval; empty with fewer than `accuracy.FEWEST`.
    """

    agreement: float
    has_drifted: bool
    accuracies: dict[str, float]
    rounds: int
    audit: tuple[float, ...] = ()


@dataclass(frozen=True)
class _Round:
    """One round: its views, the kappa of content and names, and the views' estimated accuracies."""

    views: Views
    agreement: float
    accuracies: dict[str, float]


@dataclass(frozen=True)
class Gate:
    """The fitted gate.

    Attributes:
        reader: Prepares texts for the views.
        views: The views of the round that is kept.
        estimate: What it knows about itself.
        scope: Which texts some teacher knows.
    """

    reader: Reader
    views: Views
    estimate: Estimate
    scope: Scope

    @classmethod
    def fit(cls, sample: GateInputs, names: Floats, anchors: Anchors | None = None) -> Self:
        """Fit the gate to a sample of the corpus.

        Args:
            sample: The sample.
            names: `[size, labels]`, neutral embeddings of the union's label names, of length 1.
            anchors: Texts of the sample whose label is known.
        """
        anchors = NO_ANCHORS if anchors is None else anchors
        is_silent = np.zeros(sample.scores.shape[:2], dtype=bool) if sample.is_silent is None else sample.is_silent
        reader, audit = Reader.fit(sample, names), Audit(anchors, sample.label_space, is_silent)
        texts = reader(sample)
        views, estimate = _rounds(texts, audit, is_silent)
        posterior = views.posterior(views.evidence(texts))
        said: tuple[float, ...] = ()
        if anchors.is_random.sum() >= FEWEST:
            answers, found = audit.share_right(posterior)
            said = (answers, found.share, found.low, found.high)
        targets = label_targets(posterior, texts.distributions, sample.label_space)
        return cls(reader, views, replace(estimate, audit=said), Scope.fit(texts, targets))

    def __call__(self, texts: GateInputs) -> NDArray[np.float64]:
        """Posterior of every teacher, `[texts, teachers]`, each row sums to 1."""
        return self.views.posterior(self.evidence(texts))

    def familiarity(self, texts: GateInputs) -> NDArray[np.float64]:
        """`[texts]`, see `Scope`."""
        return self.scope(self.reader(texts))

    def evidence(self, texts: GateInputs) -> dict[str, NDArray[np.float64]]:
        """Logits of every teacher by each view, `[texts, teachers]`, not sharpened."""
        return self.views.evidence(self.reader(texts))


def _rounds(texts: Prepared, audit: Audit, is_silent: NDArray[np.bool_]) -> tuple[Views, Estimate]:
    """Let the views teach each other: those of the round that is kept, and what is known of it but for the audit."""
    anchors, space = audit.anchors, audit.label_space

    def known(posterior: NDArray[np.float64]) -> NDArray[np.float64]:
        """With what is known whatever the views say: anchors, and who has no answer."""
        return anchored(voting(posterior, is_silent, is_posterior=True), anchors, space)

    posterior = known(np.asarray(softmax(_start(texts), axis=1)))
    agreements: list[float] = []
    first_agreement, best = 0.0, None
    for _ in range(_MOST_ROUNDS):
        targets = label_targets(posterior, texts.distributions, space)
        targets[anchors.rows] = np.eye(len(space.labels))[anchors.columns]
        views = Views.fit(texts, posterior, targets)
        evidence = views.evidence(texts)
        if not agreements:
            first_agreement = least_agreement(evidence)
        estimated = estimated_accuracies(evidence)
        accuracies = {name: audit.accuracy(evidence[name], value) for name, value in estimated.items()}
        views = views.sharpened(evidence, accuracies, audit)
        agreements.append(kappa(evidence["content"], evidence["names"]))
        if best is None or agreements[-1] > best.agreement:
            best = _Round(views, agreements[-1], accuracies)
        if has_drifted(agreements):
            return best.views, Estimate(first_agreement, True, best.accuracies, len(agreements))
        updated = known(views.posterior(evidence))
        changed = float((updated.argmax(axis=1) != posterior.argmax(axis=1)).mean())
        posterior = updated
        if changed < _SETTLED:
            break
    return views, Estimate(first_agreement, False, accuracies, len(agreements))


def _start(texts: Prepared) -> NDArray[np.float64]:
    """Logits to begin with: -log mutual information, and more heavily the names, which no teacher's training bends."""
    nearest, of_answer = texts.names[..., 0], texts.names[..., 1]
    logits: NDArray[np.float64] = texts.scores[..., 1] + nearest + 2 * of_answer
    return logits


def label_targets(posterior: Floats, distributions: Sequence[Floats], label_space: LabelSpace) -> NDArray[np.float64]:
    """Σ_i r_i q_i on the union's columns, `[texts, labels]`."""
    targets = np.zeros((len(posterior), len(label_space.labels)))
    for teacher, (distribution, columns) in enumerate(zip(distributions, label_space.columns, strict=True)):
        targets[:, columns] += posterior[:, teacher, None] * distribution
    return targets


def _sharpening(sample: GateInputs) -> NDArray[np.float64]:
    """`[teachers]`, see `Reader.sharpening`; a teacher's unanswered texts do not count."""
    factors = []
    for teacher, distribution in enumerate(sample.distributions):
        given = distribution if sample.is_silent is None else distribution[~sample.is_silent[:, teacher]]
        is_modest = given.shape[1] > 1 and len(given) > 0 and given.max(axis=1).mean() < _SURE
        factors.append(min(sharpening_to(given, _SURE), _MOST_SHARPENED) if is_modest else 1.0)
    return np.array(factors)


def _sharpened(texts: GateInputs, sharpening: Floats) -> list[Floats]:
    """The teachers' distributions, for each `[texts, its labels]`."""
    pairs = zip(texts.distributions, sharpening.tolist(), strict=True)
    return [distribution if factor == 1.0 else sharpened(distribution, factor) for distribution, factor in pairs]


def _similarities(texts: GateInputs, names: Floats) -> NDArray[np.float64]:
    """Of every text and label name, `[texts, labels]`."""
    similarities: NDArray[np.float64] = (texts.embeddings @ names).astype(np.float64)
    return similarities
