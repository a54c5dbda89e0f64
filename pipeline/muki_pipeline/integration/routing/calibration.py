"""A view as calibrated log-odds: multinomial logistic regression without labels, fitted to posteriors."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from muki_pipeline.integration.confidence import softmax

Floats = NDArray[np.floating]

_BISECTIONS = 60
_NEWTON_STEPS, _RIDGE = 30, 1e-3
_SMALLEST_STEP, _CONVERGED = 1e-4, 1e-9
_FACTORS, _SECTIONS = (-6.0, 3.0), 25  # range of the logarithm


@dataclass(frozen=True)
class Calibration:
    """Log-odds of a view: logit of teacher t = Σ_d slopes[t, d] · view[t, d] + offsets[t].

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


def sharpness(logits: Floats, accuracy: float) -> float:
    """The factor of `logits` at which the mean of the highest probability equals `accuracy`.

    Args:
        logits: `[texts, teachers]`.
        accuracy: Between 1 / teachers and 1.
    """
    lowest, highest = 1e-3, 1e3
    for _ in range(_BISECTIONS):
        factor = float(np.sqrt(lowest * highest))
        if softmax(factor * logits).max(axis=1).mean() < accuracy:
            lowest = factor
        else:
            highest = factor
    return factor


def fit_factor(log_likelihoods: Floats, targets: Floats) -> float:
    """The factor of log-likelihoods whose softmax is nearest to `targets` in cross-entropy, by golden-section search.

    Args:
        log_likelihoods: `[texts, labels]`.
        targets: `[texts, labels]`, each row sums to 1.
    """

    def loss(log_factor: float) -> float:
        logits = np.exp(log_factor) * (log_likelihoods - log_likelihoods.max(axis=1, keepdims=True))
        log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        return float(-(targets * log_p).sum(axis=1).mean())

    golden = (np.sqrt(5.0) - 1.0) / 2.0
    low, high = _FACTORS
    left, right = high - golden * (high - low), low + golden * (high - low)
    loss_left, loss_right = loss(left), loss(right)
    for _ in range(_SECTIONS):
        if loss_left < loss_right:
            high, right, loss_right = right, left, loss_left
            left = high - golden * (high - low)
            loss_left = loss(left)
        else:
            low, left, loss_left = left, right, loss_right
            right = low + golden * (high - low)
            loss_right = loss(right)
    return float(np.exp((low + high) / 2.0))


def calibrate(view: Floats, posterior: Floats) -> Calibration:
    """The calibration whose posterior is nearest to `posterior` in cross-entropy.

    A damped Newton's method with a small ridge towards slopes of 1 and offsets of 0.

    Args:
        view: `[texts, teachers, features]`.
        posterior: `[texts, teachers]`, each row sums to 1.
    """
    texts, teachers, features = view.shape
    inputs = np.concatenate([view, np.ones((texts, teachers, 1))], axis=-1)  # [texts, teachers, features + 1]
    prior = np.concatenate([np.ones((teachers, features)), np.zeros((teachers, 1))], axis=-1)
    parameters, loss = prior, _loss(prior, prior, inputs, posterior)
    for _ in range(_NEWTON_STEPS):
        direction = _newton_direction(parameters, prior, inputs, posterior)
        size = 1.0
        candidate = parameters - direction
        candidate_loss = _loss(candidate, prior, inputs, posterior)
        while candidate_loss > loss and size > _SMALLEST_STEP:
            size /= 2
            candidate = parameters - size * direction
            candidate_loss = _loss(candidate, prior, inputs, posterior)
        if loss - candidate_loss < _CONVERGED:
            break
        parameters, loss = candidate, candidate_loss
    return Calibration(parameters[:, :-1], parameters[:, -1])


def _loss(parameters: Floats, prior: Floats, inputs: Floats, posterior: Floats) -> float:
    """Cross-entropy plus ridge; `parameters` and `prior` are `[teachers, features + 1]`."""
    logits = (inputs * parameters).sum(axis=-1)  # [texts, teachers]
    highest = logits.max(axis=1, keepdims=True)
    log_p = logits - highest - np.log(np.exp(logits - highest).sum(axis=1, keepdims=True))
    return float(-(posterior * log_p).sum(axis=1).mean() + _RIDGE * np.square(parameters - prior).sum())


def _newton_direction(parameters: Floats, prior: Floats, inputs: Floats, posterior: Floats) -> NDArray[np.float64]:
    """Inverse curvature times gradient of `_loss`, `[teachers, features + 1]`."""
    texts, teachers, _ = inputs.shape
    p = softmax((inputs * parameters).sum(axis=-1))  # [texts, teachers]
    gradient = np.einsum("nt,ntd->td", p - posterior, inputs) / texts + 2 * _RIDGE * (parameters - prior)
    weighted = p[:, :, None] * inputs  # [texts, teachers, features + 1]
    # Second derivatives by (teacher, feature) and (teacher, feature): [teachers, d, teachers, d].
    curvature = -np.einsum("ntd,nse->tdse", weighted, weighted) / texts
    for teacher in range(teachers):
        # On the diagonal p (1 - p) x xᵀ: the term above is the -p² part, this adds p x xᵀ.
        curvature[teacher, :, teacher] += np.einsum("nd,ne->de", weighted[:, teacher], inputs[:, teacher]) / texts
    size = parameters.size
    flat = curvature.reshape(size, size) + 2 * _RIDGE * np.eye(size)
    direction: NDArray[np.float64] = np.linalg.solve(flat, gradient.ravel()).reshape(parameters.shape)
    return direction
