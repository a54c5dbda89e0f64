"""Which teacher a text is for, by its words: a gate that learns from the teachers' stored numbers and from no label.

Two views of a text tell whose it is: how sure the teachers are, and its words. Neither is good alone: scores of
different teachers are not on one scale, and words need somebody to learn from. So they teach each other, in turns
(co-training, Blum & Mitchell 1998). The constants of this module serve every corpus that was tried.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.integration.confidence import softmax
from pipeline.integration.routing.calibration import Calibration, calibrate
from pipeline.integration.routing.words import BagsOfWords, WordIndex, WordView

Floats = NDArray[np.floating]

_ROUNDS = 5
_SLIGHT = 0.2
"""A kappa below this is slight agreement at most (Landis & Koch 1977)."""
FAIR = 0.4
"""A kappa up to this is fair agreement at most (ibid.): views that begin so may talk each other into anything."""
_HIGHEST_ACCURACY = 0.995


@dataclass(frozen=True)
class Router:
    """Both views, calibrated.

    Attributes:
        words: The index of words.
        by_words: The word view.
        word_odds: Its calibration; all 0 if the words tell nothing.
        score_odds: That of the teachers' scores.
        agreement: The least kappa of two views in the first round, before they taught each other.
    """

    words: WordIndex
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

    How far to trust a view is estimated from agreement alone, without labels. The words are split into two halves, so
    that there are three views. If their errors are independent given the right teacher, the agreement beyond chance of
    two views is the product of each one's agreement with the truth; the three products give the three factors
    (Platanios et al. 2014). Each view is made as sure as it is right; their joint posterior teaches the words of the
    next round, and at the end calibrates both views. If the views hardly agree beyond chance, the words are left out.

    Args:
        scores: `[texts, teachers, features]`, standardised over the corpus, higher for the surer teacher.
        start: `[texts, teachers]`, log-odds that are believed to begin with.
        texts: A sample of the corpus.
    """
    teachers = scores.shape[1]
    words = WordIndex(texts)
    bags = words.bags(texts)
    posterior = softmax(start)
    score_odds = calibrate(scores, posterior)
    mute = Calibration(np.zeros((teachers, 1)), np.zeros(teachers))
    for number in range(_ROUNDS):
        by_words = WordView(bags, posterior, len(words.table))
        view = by_words(bags)
        word_odds = calibrate(view, posterior)
        halves = [_odds_by_words(bags.half(each), posterior, len(words.table)) for each in (0, 1)]
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
        posterior = softmax(router.score_odds(scores) + router.word_odds(view))
        score_odds = calibrate(scores, posterior)
    return replace(router, score_odds=score_odds, word_odds=calibrate(router.by_words(bags), posterior))


def _odds_by_words(bags: BagsOfWords, posterior: Floats, words: int) -> NDArray[np.float64]:
    view = WordView(bags, posterior, words)(bags)
    return calibrate(view, posterior)(view)


def _accuracy(kappa_to_truth: float, teachers: int) -> float:
    return 1.0 / teachers + min(kappa_to_truth, _HIGHEST_ACCURACY) * (1.0 - 1.0 / teachers)
