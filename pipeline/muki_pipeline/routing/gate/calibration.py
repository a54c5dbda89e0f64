"""A view as calibrated log-odds: multinomial logistic regression without labels, fitted to posteriors."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize, minimize_scalar
from scipy.special import log_softmax, softmax

Floats = NDArray[np.floating]

_RIDGE = 1e-3
_FACTORS = (-7.0, 7.0)
"""Range of a factor's natural logarithm."""
_SMALLEST = 1e-12


@dataclass(frozen=True)
class Calibration:
    """Log-odds of a view: logit of teacher t = Σ_d slopes[t, d] · view[t, d] + offsets[t].

    Attributes:
        slopes: `[teachers, features]`.
        offsets: `[teachers]`.
    """

    slopes: NDArray[np.float64]
    offsets: NDArray[np.float64]

    @classmethod
    def fit(cls, view: Floats, posterior: Floats) -> Self:
        """The calibration whose posterior is nearest in cross-entropy, with a small ridge towards slopes of 1.

        Args:
            view: `[texts, teachers, features]`.
            posterior: `[texts, teachers]`, each row sums to 1.
        """
        texts, teachers, features = view.shape
        inputs = np.concatenate([view, np.ones((texts, teachers, 1))], axis=-1)  # [texts, teachers, features + 1]
        prior = np.concatenate([np.ones((teachers, features)), np.zeros((teachers, 1))], axis=-1)

        def loss(flat: Floats) -> tuple[float, Floats]:
            """Cross-entropy plus ridge, and its gradient."""
            away = flat.reshape(prior.shape) - prior
            logits = (inputs * (away + prior)).sum(axis=-1)  # [texts, teachers]
            value = -(posterior * log_softmax(logits, axis=1)).sum(axis=1).mean() + _RIDGE * np.square(away).sum()
            gradient = np.einsum("nt,ntd->td", softmax(logits, axis=1) - posterior, inputs) / texts + 2 * _RIDGE * away
            return float(value), gradient.ravel()

        found = minimize(loss, prior.ravel(), jac=True, method="L-BFGS-B", options={"ftol": 1e-13, "gtol": 1e-8})
        parameters = found.x.reshape(prior.shape)
        return cls(parameters[:, :-1], parameters[:, -1])

    def __call__(self, view: Floats) -> NDArray[np.float64]:
        """`[texts, teachers, features]` -> logits `[texts, teachers]`."""
        logits: NDArray[np.float64] = (view * self.slopes).sum(axis=-1) + self.offsets
        return logits


def sharpness(logits: Floats, accuracy: float) -> float:
    """The factor of `logits` at which the mean of the highest probability equals `accuracy`.

    Args:
        logits: `[texts, teachers]`.
        accuracy: Between 1 / teachers and 1; where no factor reaches it, the nearest end of the range is taken.
    """

    def surplus(log_factor: float) -> float:
        return float(softmax(np.exp(log_factor) * logits, axis=1).max(axis=1).mean()) - accuracy

    low, high = _FACTORS
    if surplus(low) >= 0:
        return float(np.exp(low))
    if surplus(high) <= 0:
        return float(np.exp(high))
    return float(np.exp(brentq(surplus, low, high, xtol=1e-10)))


def sharpening_to(distribution: Floats, certainty: float) -> float:
    """The power of probabilities `[texts, labels]` at which the mean of the highest one is `certainty`."""
    return sharpness(np.log(np.maximum(distribution, _SMALLEST)), certainty)


def sharpened(distribution: Floats, factor: float) -> NDArray[np.float64]:
    """Probabilities to the power of a factor, `[texts, labels]`, each row sums to 1."""
    return np.asarray(softmax(factor * np.log(np.maximum(distribution, _SMALLEST)), axis=1))


def fit_factor(log_likelihoods: Floats, targets: Floats) -> float:
    """The factor of log-likelihoods whose softmax is nearest to `targets` in cross-entropy.

    Args:
        log_likelihoods: `[texts, labels]`.
        targets: `[texts, labels]`, each row sums to 1.
    """

    def loss(log_factor: float) -> float:
        return float(-(targets * log_softmax(np.exp(log_factor) * log_likelihoods, axis=1)).sum(axis=1).mean())

    found = minimize_scalar(loss, bounds=(-6.0, 3.0), method="bounded", options={"xatol": 1e-5})
    return float(np.exp(found.x))
