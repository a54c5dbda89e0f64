"""Which teacher a text is for: a posterior from four views that teach each other, without any label.

The views are the teachers' scores, the text's words, its neutral embedding, and the labels' names:

- *scores*: how certain each teacher is (energy and mutual information);
- *content*: words and embedding, each a generative model of every label of the union. A teacher's evidence is
  log Σ_y q_i(y|x) p(x|y): how likely the text is, if the teacher's own answer is right;
- *names*: how similar the text is to the labels' names. No teacher was trained with them.

They begin with mutual information and names, standardised over the corpus: two witnesses that err for different
reasons. Names count most, because no teacher's training bends them. In each round the posterior r gives every text a
distribution over the union's labels, Σ_i r_i q_i. The content view learns from it, scores and names are calibrated on r
(co-training, Blum & Mitchell 1998), each view is made as sure as it is accurate by what the views' agreement says, and
their sum is the next r.

Texts whose label a person has given are anchors: r is known there, and they tell how accurate the views are.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from muki_pipeline.integration.confidence import softmax
from muki_pipeline.integration.label_space import LabelSpace
from muki_pipeline.integration.routing.agreement import estimated_accuracies, has_drifted, kappa, least_agreement
from muki_pipeline.integration.routing.answers import NO_ANCHORS, Anchors
from muki_pipeline.integration.routing.audit import Audit, anchored
from muki_pipeline.integration.routing.calibration import Calibration, calibrate, fit_factor, sharpness
from muki_pipeline.integration.routing.embedded import EmbeddingView
from muki_pipeline.integration.routing.words import FOLDS, BagsOfWords, WordIndex, WordView

Floats = NDArray[np.floating]
Scale = Callable[[Floats], NDArray[np.float64]]

_MOST_ROUNDS = 12
_SETTLED = 0.01
"""The rounds end when fewer texts than this share change their teacher: further ones only drift."""
_BELIEVED = 0.9
"""Mean of the highest posterior that a round may pass on: views that believe themselves more drift faster."""
_SMALLEST_PROBABILITY = 1e-6


@dataclass(frozen=True)
class Texts:
    """What the gate reads of some texts.

    Attributes:
        scores: `[texts, teachers, 2]`, energy and -log mutual information.
        distributions: For each teacher `[texts, its labels]`, its distribution without dropout.
        texts: The texts.
        embeddings: `[texts, size]`, neutral embeddings of length 1.
    """

    scores: Floats
    distributions: Sequence[Floats]
    texts: Sequence[str]
    embeddings: Floats

    def __len__(self) -> int:
        """Number of texts."""
        return len(self.texts)


@dataclass(frozen=True)
class Estimate:
    """What the gate knows about itself.

    Attributes:
        agreement: Smallest kappa of two views in the first round, before they taught each other.
        has_drifted: Whether the content came to contradict the names, which no teacher has learned. The round in which
            they agreed best is then kept.
        accuracies: Estimated accuracy of each view.
        rounds: How many rounds there were.
        audited: Anchors that were drawn at random, by the teacher that the views choose; empty where there
            are none.
        audited_right: Those of them whose chosen teacher knows the label.
    """

    agreement: float
    has_drifted: bool
    accuracies: dict[str, float]
    rounds: int
    audited: tuple[int, ...] = ()
    audited_right: tuple[int, ...] = ()


@dataclass(frozen=True)
class _Views:
    """One round's views, fitted, each with the factor that makes it as sure as it is accurate."""

    words: WordView
    word_factor: float
    embedding: EmbeddingView
    embedding_factor: float
    scores: Calibration
    names: Calibration
    factors: dict[str, float]
    total_factor: float


@dataclass(frozen=True)
class _Round:
    """One round: its views, the kappa of content and names, and the views' estimated accuracies."""

    views: _Views
    agreement: float
    accuracies: dict[str, float]


@dataclass(frozen=True)
class Router:
    """The fitted gate.

    Attributes:
        label_space: The union, and each teacher's columns of it.
        names: `[size, labels]`, embeddings of the labels' names, of length 1.
        index: The words.
        score_scale: Standardises the scores over the corpus.
        name_scale: Standardises each name's similarities over the corpus.
        views: The views of the round that is kept.
        estimate: What it knows about itself.
    """

    label_space: LabelSpace
    names: Floats
    index: WordIndex
    score_scale: Scale
    name_scale: Scale
    views: _Views
    estimate: Estimate

    def __call__(self, texts: Texts) -> NDArray[np.float64]:
        """Posterior of every teacher, `[texts, teachers]`, each row sums to 1."""
        return _combine(self.evidence(texts), self.views)

    def _names(self, texts: Texts) -> NDArray[np.float64]:
        similarities = self.name_scale(_similarities(texts, self.names))
        return _name_features(similarities, texts.distributions, self.label_space)

    def evidence(self, texts: Texts) -> dict[str, NDArray[np.float64]]:
        """Logits of every teacher by each view, `[texts, teachers]`."""
        scores, bags, folds = self.score_scale(texts.scores), self.index.bags(texts.texts), _folds(texts.texts)
        return _evidence(self.views, self.label_space, texts, bags, folds, scores, self._names(texts))


def fit_router(texts: Texts, names: Floats, label_space: LabelSpace, anchors: Anchors | None = None) -> Router:
    """Fit the gate to a sample of the corpus.

    Args:
        texts: The sample.
        names: `[size, labels]`, neutral embeddings of the union's label names, of length 1.
        label_space: The union.
        anchors: Texts of the sample whose label is known.
    """
    anchors = NO_ANCHORS if anchors is None else anchors
    score_scale = standardiser(texts.scores)
    similarities = _similarities(texts, names)
    name_scale = standardiser(similarities)
    scores = score_scale(texts.scores)
    name_features = _name_features(name_scale(similarities), texts.distributions, label_space)
    index = WordIndex(texts.texts)
    bags, folds = index.bags(texts.texts), _folds(texts.texts)
    posterior = anchored(softmax(_start(scores, name_features)), anchors, label_space)
    audit = Audit(anchors, label_space)
    rounds: list[_Round] = []
    for _ in range(_MOST_ROUNDS):
        targets = label_targets(posterior, texts.distributions, label_space)
        targets[anchors.rows] = np.eye(len(label_space.labels))[anchors.columns]
        views = _fit_views(texts, bags, folds, len(index.table), scores, name_features, posterior, targets)
        evidence = _evidence(views, label_space, texts, bags, folds, scores, name_features)
        if not rounds:
            agreement = least_agreement(evidence)
        estimated = estimated_accuracies(evidence)
        accuracies = {name: audit.accuracy(evidence[name], value) for name, value in estimated.items()}
        views = _sharpen(views, evidence, accuracies, audit)
        rounds.append(_Round(views, kappa(evidence["content"], evidence["names"]), accuracies))
        drifted = has_drifted([each.agreement for each in rounds])
        if drifted:
            break
        updated = anchored(_combine(evidence, views), anchors, label_space)
        changed = float((updated.argmax(axis=1) != posterior.argmax(axis=1)).mean())
        posterior = updated
        if changed < _SETTLED:
            break
    chosen = max(rounds, key=lambda one: one.agreement) if drifted else rounds[-1]
    estimate = Estimate(agreement, drifted, chosen.accuracies, len(rounds))
    router = Router(label_space, names, index, score_scale, name_scale, chosen.views, estimate)
    if not anchors.is_random.any():
        return router
    audited, audited_right = audit.counts(router(texts))
    return replace(router, estimate=replace(estimate, audited=audited, audited_right=audited_right))


def _start(scores: Floats, names: Floats) -> NDArray[np.float64]:
    """Logits to begin with: -log mutual information, and more heavily the names, which no teacher's training bends."""
    nearest, of_answer = names[..., 0], names[..., 1]
    logits: NDArray[np.float64] = scores[..., 1] + nearest + 2 * of_answer
    return logits


def standardiser(sample: Floats) -> Scale:
    """Subtract the mean over the corpus and divide by the standard deviation, column by column."""
    mean, deviation = sample.mean(axis=0), np.maximum(sample.std(axis=0), 1e-12)
    return lambda values: (values - mean) / deviation


def label_targets(posterior: Floats, distributions: Sequence[Floats], label_space: LabelSpace) -> NDArray[np.float64]:
    """Σ_i r_i q_i on the union's columns, `[texts, labels]`."""
    targets = np.zeros((len(posterior), len(label_space.labels)))
    for teacher, (distribution, columns) in enumerate(zip(distributions, label_space.columns, strict=True)):
        targets[:, columns] += posterior[:, teacher, None] * distribution
    return targets


def _folds(texts: Sequence[str]) -> NDArray[np.intp]:
    """`[texts]`, a part of the corpus that depends on the text alone: equal texts are in one fold."""
    return np.array([crc32(text.encode()) % FOLDS for text in texts], dtype=np.intp)


def _similarities(texts: Texts, names: Floats) -> NDArray[np.float64]:
    """Of every text and label name, `[texts, labels]`."""
    similarities: NDArray[np.float64] = (texts.embeddings @ names).astype(np.float64)
    return similarities


def _name_features(
    similarities: Floats, distributions: Sequence[Floats], label_space: LabelSpace
) -> NDArray[np.float64]:
    """`[texts, teachers, 2]`: similarity to the nearest of a teacher's names, and on average over its answer."""
    features = [
        np.stack([similarities[:, columns].max(axis=1), (similarities[:, columns] * distribution).sum(axis=1)], axis=-1)
        for columns, distribution in zip(label_space.columns, distributions, strict=True)
    ]
    return np.stack(features, axis=1)


def _fit_views(
    texts: Texts,
    bags: BagsOfWords,
    folds: NDArray[np.intp],
    words: int,
    scores: Floats,
    names: Floats,
    posterior: Floats,
    targets: Floats,
) -> _Views:
    """One round's views, not yet sharpened."""
    word_view = WordView(bags, folds, targets, words)
    embedding_view = EmbeddingView(texts.embeddings, folds, targets)
    return _Views(
        words=word_view,
        word_factor=fit_factor(word_view(bags, folds), targets),
        embedding=embedding_view,
        embedding_factor=fit_factor(embedding_view(texts.embeddings, folds), targets),
        scores=calibrate(scores, posterior),
        names=calibrate(names, posterior),
        factors={"scores": 1.0, "content": 1.0, "names": 1.0},
        total_factor=1.0,
    )


def _evidence(
    views: _Views,
    label_space: LabelSpace,
    texts: Texts,
    bags: BagsOfWords,
    folds: NDArray[np.intp],
    scores: Floats,
    names: Floats,
) -> dict[str, NDArray[np.float64]]:
    """Logits of every teacher by each view, `[texts, teachers]`, not yet sharpened."""
    words = views.word_factor * views.words(bags, folds)  # [texts, labels]
    embedding = views.embedding_factor * views.embedding(texts.embeddings, folds)
    content = [_teacher_evidence(likelihoods, texts.distributions, label_space) for likelihoods in (words, embedding)]
    return {"scores": views.scores(scores), "content": content[0] + content[1], "names": views.names(names)}


def _teacher_evidence(
    log_likelihoods: Floats, distributions: Sequence[Floats], label_space: LabelSpace
) -> NDArray[np.float64]:
    """Log Σ_y q_i(y|x) p(x|y) of every teacher, `[texts, teachers]`."""
    evidence = []
    for columns, distribution in zip(label_space.columns, distributions, strict=True):
        joint = log_likelihoods[:, columns] + np.log(np.maximum(distribution, _SMALLEST_PROBABILITY))
        highest = joint.max(axis=1, keepdims=True)
        evidence.append(highest[:, 0] + np.log(np.exp(joint - highest).sum(axis=1)))
    return np.stack(evidence, axis=1)


def _sharpen(
    views: _Views, evidence: dict[str, NDArray[np.float64]], accuracies: dict[str, float], audit: Audit
) -> _Views:
    """Make each view as sure as it is accurate, and their sum as sure as anchors say, or no surer than `_BELIEVED`."""
    factors = {name: sharpness(logits, accuracies[name]) for name, logits in evidence.items()}
    total = _total(evidence, factors)
    believed = audit.accuracy(total, _BELIEVED)
    must_change = audit.anchors.is_random.any() or softmax(total).max(axis=1).mean() > _BELIEVED
    return replace(views, factors=factors, total_factor=sharpness(total, believed) if must_change else 1.0)


def _total(evidence: dict[str, NDArray[np.float64]], factors: dict[str, float]) -> NDArray[np.float64]:
    total = np.zeros_like(evidence["scores"])
    for name, logits in evidence.items():
        total += factors[name] * logits
    return total


def _combine(evidence: dict[str, NDArray[np.float64]], views: _Views) -> NDArray[np.float64]:
    """The posterior: softmax of the sharpened views' sum."""
    return softmax(views.total_factor * _total(evidence, views.factors))
