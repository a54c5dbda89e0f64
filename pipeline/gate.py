"""Which teacher a text is for, by its words: a gate that learns from the teachers' stored numbers and from no label.

Two views of a text say whose it is: how sure the teachers are, and its words. Neither is good alone: scores of
different teachers are not on one scale, and words need somebody to learn from. So each teaches the other, in turns
(co-training, Blum & Mitchell 1998; the word view is naive Bayes with soft counts, Nigam et al. 2000). The figures in
this module are not to be tuned: they serve every corpus that was tried.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from zlib import crc32

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.uncertainty import softmax

Floats = NDArray[np.floating]

_MOST_WORDS = 50_000
_RAREST = 2
_SMOOTHING = 0.01
_FOLDS = 5
_ROUNDS = 5
_SLIGHT = 0.2
"""A kappa below this is slight agreement at most (Landis & Koch 1977)."""
FAIR = 0.4
"""A kappa up to this is fair agreement at most (the same): views that begin so may talk each other into anything."""
_NEVER_SURER = 0.995
_BISECTIONS = 60
_NEWTON_STEPS, _RIDGE = 30, 1e-3


@dataclass(frozen=True)
class Bags:
    """TF-IDF of texts, sparse, each text's entries of Euclidean length 1.

    Attributes:
        rows: `[entries]`, which text.
        columns: `[entries]`, which word.
        weights: `[entries]`.
        folds: `[texts]`, a part of the corpus that depends on the text alone.
    """

    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    weights: NDArray[np.float64]
    folds: NDArray[np.intp]

    def half(self, which: int) -> "Bags":
        """The same texts with every other word of the vocabulary."""
        kept = self.columns % 2 == which
        return Bags(self.rows[kept], self.columns[kept], self.weights[kept], self.folds)


class Words:
    """The words, and pairs of words, that texts have in common, and how telling each is.

    Args:
        texts: A sample of the corpus; a word must stand in two of its texts.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        counted = _count(texts).group_by("word").len("texts").filter(pl.col("texts") >= _RAREST)
        self.table = (
            counted.sort(["texts", "word"], descending=[True, False])
            .head(_MOST_WORDS)
            .select(
                "word",
                column=pl.int_range(pl.len(), dtype=pl.Int64),
                idf=((1.0 + len(texts)) / (1.0 + pl.col("texts"))).log() + 1.0,
            )
        )

    def bags(self, texts: Sequence[str]) -> Bags:
        """TF-IDF of some texts; words that are not the sample's count for nothing."""
        found = _count(texts).join(self.table, on="word").sort("row", "column")
        found = found.with_columns(weight=(1.0 + pl.col("times").log()) * pl.col("idf"))
        found = found.with_columns(pl.col("weight") / pl.col("weight").pow(2).sum().sqrt().over("row"))
        folds = np.array([crc32(text.encode()) % _FOLDS for text in texts], dtype=np.intp)
        return Bags(found["row"].to_numpy(), found["column"].to_numpy(), found["weight"].to_numpy(), folds)


def _count(texts: Sequence[str]) -> pl.DataFrame:
    """`row`, `word` (one word or two that follow each other), `times`."""
    words = pl.Series("words", list(texts), dtype=pl.String).str.to_lowercase().str.extract_all(r"\w+")
    pairs = words.list.eval(pl.concat_str(pl.element(), pl.element().shift(-1), separator=" "))
    rows = pl.int_range(len(texts), dtype=pl.Int64, eager=True)
    both = [pl.DataFrame({"row": rows, "word": each}).explode("word").drop_nulls() for each in (words, pairs)]
    return pl.concat(both).group_by("row", "word").len("times")


class WordView:
    """Naive Bayes with soft counts; a text is judged by the counts of the other folds, never by its own.

    Args:
        bags: Texts.
        shares: `[texts, teachers]`, how likely each teacher is a text's, each row sums to 1.
        words: Size of the vocabulary.
    """

    def __init__(self, bags: Bags, shares: Floats, words: int) -> None:
        teachers = shares.shape[1]
        cells = bags.folds[bags.rows] * words + bags.columns
        counts = np.stack(
            [np.bincount(cells, bags.weights * shares[bags.rows, each], _FOLDS * words) for each in range(teachers)], 1
        ).reshape(_FOLDS, words, teachers)
        others = counts.sum(axis=0) - counts + _SMOOTHING
        self.log_likelihoods = np.log(others / others.sum(axis=1, keepdims=True)) if words else others

    def __call__(self, bags: Bags) -> NDArray[np.float64]:
        """Of texts, log p(words | teacher), less its mean over teachers, `[texts, teachers, 1]`."""
        each = bags.weights[:, None] * self.log_likelihoods[bags.folds[bags.rows], bags.columns]
        summed: NDArray[np.float64] = np.stack(
            [np.bincount(bags.rows, column, len(bags.folds)).astype(np.float64) for column in each.T], axis=1
        )
        summed -= summed.mean(axis=1, keepdims=True)
        return summed[:, :, None]


@dataclass(frozen=True)
class Calibration:
    """A view as log-odds: logit of teacher t = Σ_d slopes[t, d] · view[t, d] + offsets[t].

    Attributes:
        slopes: `[teachers, features]`.
        offsets: `[teachers]`.
    """

    slopes: NDArray[np.float64]
    offsets: NDArray[np.float64]

    def __call__(self, view: Floats) -> NDArray[np.float64]:
        """`[texts, teachers, features]` -> logits `[texts, teachers]`."""
        logits: NDArray[np.float64] = (view * self.slopes).sum(axis=-1) + self.offsets
        return logits

    def sharpened(self, view: Floats, accuracy: float) -> "Calibration":
        """The same times what makes its posterior on `view` as sure, on the mean, as it is right."""
        logits = self(view)
        lowest, highest = 1e-3, 1e3
        for _ in range(_BISECTIONS):
            factor = float(np.sqrt(lowest * highest))
            if softmax(factor * logits).max(axis=1).mean() < accuracy:
                lowest = factor
            else:
                highest = factor
        return Calibration(self.slopes * factor, self.offsets * factor)


def calibrate(view: Floats, shares: Floats) -> Calibration:
    """The calibration whose posterior is nearest to `shares` in cross-entropy, by Newton's method with a small ridge.

    Args:
        view: `[texts, teachers, features]`.
        shares: `[texts, teachers]`, each row sums to 1.
    """
    texts, teachers, features = view.shape
    inputs = np.concatenate([view, np.ones((texts, teachers, 1))], axis=-1)
    start = np.concatenate([np.ones((teachers, features)), np.zeros((teachers, 1))], axis=-1)

    def loss(now: NDArray[np.float64]) -> float:
        logits = (inputs * now).sum(axis=-1)
        highest = logits.max(axis=1, keepdims=True)
        log_p = logits - highest - np.log(np.exp(logits - highest).sum(axis=1, keepdims=True))
        return float(-(shares * log_p).sum(axis=1).mean() + _RIDGE * np.square(now - start).sum())

    now, lost = start, loss(start)
    for _ in range(_NEWTON_STEPS):
        p = softmax((inputs * now).sum(axis=-1))
        gradient = np.einsum("nt,ntd->td", p - shares, inputs) / texts + 2 * _RIDGE * (now - start)
        curvature = -np.einsum("ntd,nse->tdse", p[:, :, None] * inputs, p[:, :, None] * inputs) / texts
        for each in range(teachers):
            curvature[each, :, each] += (
                np.einsum("nd,ne->de", p[:, each, None] * inputs[:, each], inputs[:, each]) / texts
            )
        flat = curvature.reshape(now.size, now.size) + 2 * _RIDGE * np.eye(now.size)
        step = np.linalg.solve(flat, gradient.ravel()).reshape(now.shape)
        tried, size = loss(now - step), 1.0
        while tried > lost and size > 1e-4:
            size /= 2
            tried = loss(now - size * step)
        if lost - tried < 1e-9:
            break
        now, lost = now - size * step, tried
    return Calibration(now[:, :-1], now[:, -1])


@dataclass(frozen=True)
class Router:
    """Both views, calibrated.

    Attributes:
        words: The vocabulary.
        by_words: The word view.
        word_odds: Its calibration; all 0 where the words tell nothing.
        score_odds: That of the teachers' scores.
        agreement: The least kappa of two views in the first round, before they taught each other.
    """

    words: Words
    by_words: WordView
    word_odds: Calibration
    score_odds: Calibration
    agreement: float

    def __call__(self, scores: Floats, texts: Sequence[str]) -> NDArray[np.float64]:
        """Posterior of every teacher, `[texts, teachers]`, of `[texts, teachers, features]` and the texts."""
        return softmax(self.score_odds(scores) + self.word_odds(self.by_words(self.words.bags(texts))))


def kappa(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """Agreement beyond chance of the teachers that two views prefer (Cohen 1960): 1 where always, 0 where by chance.

    Args:
        first: `[texts, teachers]`, higher for the preferred teacher.
        second: The same of the other view.
    """
    chosen = [each.argmax(axis=1) for each in (first, second)]
    shares = [np.bincount(each, minlength=first.shape[1]) / len(first) for each in chosen]
    chance = float(shares[0] @ shares[1])
    return 0.0 if chance == 1.0 else (float((chosen[0] == chosen[1]).mean()) - chance) / (1.0 - chance)


def cotrain(scores: Floats, start: Floats, texts: Sequence[str]) -> Router:
    """Let scores and words teach each other which teacher a text is for.

    How far to trust each view is told by agreement alone, with no label. Every other word makes a view of its own, so
    that there are three: given the right teacher they err independently, more or less, and then the agreement beyond
    chance of two views is the product of each one's agreement with the truth. From the three products follow the three
    factors (Platanios et al. 2014). Each view is made as sure as it is right; what both say together teaches the words
    of the next round, and at the end both views are calibrated on it. Where the views agree hardly beyond chance, the
    words are left out.

    Args:
        scores: `[texts, teachers, features]`, standardised over the corpus, higher for the surer teacher.
        start: `[texts, teachers]`, log-odds that are believed to begin with.
        texts: A sample of the corpus.
    """
    teachers = scores.shape[1]
    words = Words(texts)
    bags = words.bags(texts)
    shares = softmax(start)
    score_odds = calibrate(scores, shares)
    mute = Calibration(np.zeros((teachers, 1)), np.zeros(teachers))
    for number in range(_ROUNDS):
        by_words = WordView(bags, shares, len(words.table))
        view = by_words(bags)
        word_odds = calibrate(view, shares)
        halves = [_odds_by_words(bags.half(each), shares, len(words.table)) for each in (0, 1)]
        agreements = [kappa(score_odds(scores), halves[0]), kappa(score_odds(scores), halves[1]), kappa(*halves)]
        if number == 0:
            router = Router(words, by_words, mute, score_odds, agreement=min(agreements))
        if min(agreements) < _SLIGHT:
            return router
        of_scores = float(np.sqrt(agreements[0] * agreements[1] / agreements[2]))
        of_words = kappa(score_odds(scores), word_odds(view)) / of_scores
        router = replace(
            router,
            by_words=by_words,
            word_odds=word_odds.sharpened(view, _accuracy(of_words, teachers)),
            score_odds=score_odds.sharpened(scores, _accuracy(of_scores, teachers)),
        )
        shares = softmax(router.score_odds(scores) + router.word_odds(view))
        score_odds = calibrate(scores, shares)
    return replace(router, score_odds=score_odds, word_odds=calibrate(router.by_words(bags), shares))


def _odds_by_words(bags: Bags, shares: Floats, words: int) -> NDArray[np.float64]:
    view = WordView(bags, shares, words)(bags)
    return calibrate(view, shares)(view)


def _accuracy(kappa_to_truth: float, teachers: int) -> float:
    return 1.0 / teachers + min(kappa_to_truth, _NEVER_SURER) * (1.0 - 1.0 / teachers)
