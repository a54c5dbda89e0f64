"""How often views prefer the same teacher, and how accurate each must be for that."""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]

SLIGHT, _MODERATE = 0.3, 0.4
"""A kappa above the second is moderate agreement (Landis & Koch 1977). Up to the first the choice is in doubt: where
the rule is right it is mostly above 0.36; with an encoder that was never trained for sentences it failed at 0.28."""
_DRIFT = 2 / 3
_LOWEST, _HIGHEST = 0.02, 0.98
"""Kappas are kept between these, so that no view is silenced or believed without limit."""


def kappa(first: Floats, second: Floats) -> float:
    """Agreement beyond chance of the teachers that two views prefer (Cohen 1960): 1 if always, 0 if by chance.

    Args:
        first: `[texts, teachers]`, higher for the preferred teacher.
        second: The same of the other view.
    """
    preferred = [view.argmax(axis=1) for view in (first, second)]
    shares = [np.bincount(teachers, minlength=first.shape[1]) / len(first) for teachers in preferred]
    chance = float(shares[0] @ shares[1])
    agreement = float((preferred[0] == preferred[1]).mean())
    return 0.0 if chance == 1.0 else (agreement - chance) / (1.0 - chance)


def least_agreement(views: Mapping[str, Floats]) -> float:
    """The smallest kappa of any two views."""
    return min(kappa(views[first], views[second]) for first, second in combinations(views, 2))


def has_drifted(agreements: Sequence[float]) -> bool:
    """Whether the content has come to contradict the names, which no teacher has learned.

    It has if their kappa is less than two thirds of its best. Names that mean little never agree with the content more
    than moderately, and then by accident: they tell nothing.

    Args:
        agreements: The kappa of content and names in each round so far.
    """
    best = max(agreements)
    return best > _MODERATE and agreements[-1] < _DRIFT * best


def estimated_accuracies(views: Mapping[str, Floats]) -> dict[str, float]:
    """The accuracy of each of three views, from their agreement alone (Platanios et al. 2014).

    If their errors are independent given the right teacher, the kappa of two views is the product of each one's kappa
    with the truth; three products give three factors. Views that err alike make the estimates too high.

    Args:
        views: Three of them, each `[texts, teachers]`.
    """
    names = list(views)
    teachers = next(iter(views.values())).shape[1]
    pair = {
        frozenset(two): min(max(kappa(views[two[0]], views[two[1]]), _LOWEST), _HIGHEST)
        for two in combinations(names, 2)
    }
    accuracies = {}
    for name in names:
        first, second = (other for other in names if other != name)
        to_truth = np.sqrt(
            pair[frozenset({name, first})] * pair[frozenset({name, second})] / pair[frozenset({first, second})]
        )
        accuracies[name] = accuracy(float(to_truth), teachers)
    return accuracies


def accuracy(kappa_to_truth: float, teachers: int) -> float:
    """The share of right choices that a kappa with the truth stands for, with teachers of equal shares."""
    return 1.0 / teachers + min(max(kappa_to_truth, 0.0), _HIGHEST) * (1.0 - 1.0 / teachers)
