"""How often the right teacher is chosen, by a few answers: which texts to ask about, and what their answers tell.

A posterior ranks texts well, however wrong it is as a number: of the surer half hardly a text goes to a wrong teacher.
So unsure texts are asked about more often (active testing, Kossen et al. 2021, arXiv:2103.05331), and what is left to
learn are two numbers: log-odds of the right choice = a + b · log-odds of the posterior.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from muki_pipeline.routing.answers import wilson_interval

Floats = NDArray[np.floating]

WIDTH = 0.025
"""Half of the 95 % interval at which there are enough answers."""
FEWEST = 20
"""Answers that a share is told from: with fewer, the prior speaks."""
_LEAST = 0.1
"""Chance of a text that is quite sure to be asked about, as a share of the mean: nothing is taken for granted."""
_SURE = 1e-6
_A, _B = np.meshgrid(np.linspace(-4.0, 6.0, 81), np.linspace(0.0, 3.0, 61), indexing="ij")  # as in review_page.js
_PRIOR = -0.5 * (_A / 2.0) ** 2 - 0.5 * ((_B - 1.0) / 0.5) ** 2
"""Logarithm of the prior of a and b: a posterior that is right as it is, within wide bounds."""
_BINS = 200


@dataclass(frozen=True)
class Share:
    """A share of the corpus, by some answers.

    Attributes:
        share: It.
        low: Lower end of its 95 % interval.
        high: The upper end.
    """

    share: float
    low: float
    high: float


def chances(certainty: Floats | None, texts: int, count: int) -> NDArray[np.float64]:
    """Chance of every text to be asked about, `[texts]`; they sum to `count`, or to `texts` if there are fewer.

    Args:
        certainty: `[texts]`, posterior of the chosen teacher; None where there is none, and all texts are equal.
        texts: How many there are.
        count: How many to ask about.
    """
    wanted = np.ones(texts) if certainty is None else np.sqrt(certainty * (1.0 - certainty))
    wanted = wanted / max(float(wanted.mean()), 1e-12) + _LEAST
    found = np.ones(texts)
    free = np.full(texts, count < texts)
    while free.any():  # nobody's chance is above 1: what is too much goes to the others
        found[free] = wanted[free] * ((count - (~free).sum()) / wanted[free].sum())
        free, before = free & (found < 1.0), free
        found[before & ~free] = 1.0
        if (free == before).all():
            break
    return found


def draw(chance: NDArray[np.float64], count: int, seed: int) -> NDArray[np.intp]:
    """`count` different texts, each with its chance (Pareto sampling, Rosén 1997), in random order.

    The order matters to whoever stops before the end: the first answers are then a fair part of all.
    """
    random = np.random.default_rng(seed)
    numbers = random.random(len(chance))
    with np.errstate(divide="ignore"):  # where none is drawn, no text has a chance
        keys = (numbers / (1.0 - numbers)) * ((1.0 - chance) / chance)
    return random.permutation(np.argsort(keys, kind="stable")[:count])


def share_right(certainty: Floats, asked: Floats, is_right: NDArray[np.bool_]) -> Share:
    """The share of texts whose right teacher is chosen, from the answers to some of them, however these were drawn.

    Args:
        certainty: `[texts]`, posterior of the chosen teacher of every text.
        asked: `[answers]`, the same of the texts that were answered.
        is_right: `[answers]`, whether the right teacher was chosen.
    """
    odds = log_odds(asked)
    log_likelihood = _PRIOR.copy()
    for one, right in zip(odds, is_right, strict=True):
        line = _A + _B * one
        log_likelihood -= np.logaddexp(0.0, -line if right else line)
    weights = np.exp(log_likelihood - log_likelihood.max()).ravel()
    shares = np.mean([expit(_A + _B * middle) for middle in typical(certainty)], axis=0).ravel()
    order = np.argsort(shares)
    reached = np.cumsum(weights[order]) / weights.sum()
    low, high = (float(shares[order][np.searchsorted(reached, quantile)]) for quantile in (0.025, 0.975))
    return Share(float(weights @ shares / weights.sum()), low, high)


def log_odds(certainty: Floats) -> NDArray[np.float64]:
    """Logarithm of p / (1 - p), within bounds."""
    return np.asarray(logit(np.clip(certainty, _SURE, 1.0 - _SURE)))


def typical(certainty: Floats) -> NDArray[np.float64]:
    """Log-odds that stand for those of a whole corpus: the middles of equal parts."""
    return np.asarray(np.quantile(log_odds(certainty), (np.arange(_BINS) + 0.5) / _BINS))


def share_of_random(right: int, texts: int) -> Share:
    """The same where every text had the same chance and there is no posterior."""
    return Share(right / texts, *wilson_interval(right, texts))


def share_of_weighted(is_so: NDArray[np.bool_], stands_for: Floats) -> Share:
    """The share of texts that are so, by some that were drawn with unequal chances.

    Its interval is Wilson's for as many texts as would tell as much with equal chances (Kish 1965).

    Args:
        is_so: `[answers]`.
        stands_for: `[answers]`, how many texts each of them stands for.
    """
    share = float(np.average(is_so, weights=stands_for))
    texts = max(round(float(stands_for.sum() ** 2 / np.square(stands_for).sum())), 1)
    return Share(share, *wilson_interval(round(share * texts), texts))


def missing(found: Share, answers: int, left: int) -> int:
    """About how many more answers make the interval as narrow as `WIDTH`: it narrows with the root of their number.

    Args:
        found: What the answers so far say.
        answers: How many they are.
        left: How many texts have no answer.
    """
    wanted = round(answers * (((found.high - found.low) / (2.0 * WIDTH)) ** 2 - 1.0))
    return min(max(wanted, 0), left)
