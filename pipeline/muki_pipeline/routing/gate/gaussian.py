"""A text's vector as a view of which label it has: a Gaussian per label with one covariance."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from muki_pipeline.routing.gate.words import FOLDS

Floats = NDArray[np.floating]

_SHRINKAGE = 0.1
"""Share of the covariance that is its mean variance on the diagonal (Friedman 1989)."""
_PRIOR_TEXTS = 1.0
"""Each label's mean is pulled towards the mean of all texts as if it had so many texts there."""


@dataclass(frozen=True)
class GaussianModel:
    """Linear discriminant analysis with soft counts; a text is judged by the other folds, never by its own.

    Attributes:
        directions: `[folds, size, labels]`.
        offsets: `[folds, labels]`.
    """

    directions: Floats
    offsets: NDArray[np.float64]

    @classmethod
    def fit(cls, vectors: Floats, folds: NDArray[np.intp], targets: Floats) -> Self:
        """The model of some texts.

        Args:
            vectors: `[texts, size]`.
            folds: `[texts]`, which fold each text is in.
            targets: `[texts, labels]`, each text's distribution over the labels.
        """
        sums = [_moments(vectors[folds == fold], targets[folds == fold]) for fold in range(FOLDS)]
        total = [sum(parts) for parts in zip(*sums, strict=True)]
        discriminants = [_discriminant(*(whole - part for whole, part in zip(total, own, strict=True))) for own in sums]
        directions, offsets = (np.stack(each) for each in zip(*discriminants, strict=True))
        return cls(directions.astype(vectors.dtype), offsets)  # in the precision of what is judged, a whole corpus

    def __call__(self, vectors: Floats, folds: NDArray[np.intp]) -> NDArray[np.float64]:
        """Log p(vector | label) of texts up to a term that is the same for all labels, `[texts, labels]`."""
        likelihoods = np.empty((len(vectors), self.offsets.shape[1]))
        for fold in range(FOLDS):
            chosen = folds == fold
            likelihoods[chosen] = vectors[chosen] @ self.directions[fold] + self.offsets[fold]
        return likelihoods


def _moments(x: Floats, targets: Floats) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Texts per label `[labels]`, sums of vectors `[labels, size]` and of their squares `[size, size]`."""
    x = x.astype(np.float64)
    return targets.sum(axis=0), targets.T @ x, (x.T * targets.sum(axis=1)) @ x


def _discriminant(
    counts: NDArray[np.float64], sums: NDArray[np.float64], squares: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Directions `[size, labels]` and offsets `[labels]` of the Gaussians' log-likelihoods."""
    size = sums.shape[1]
    texts = max(float(counts.sum()), 1.0)
    overall = sums.sum(axis=0) / texts
    means = (sums + _PRIOR_TEXTS * overall) / (counts + _PRIOR_TEXTS)[:, None]  # [labels, size]
    # Σ n (x - μ)(x - μ)ᵀ with means that are not exactly the labels' averages.
    cross = means.T @ sums
    covariance = (squares - cross - cross.T + (means.T * counts) @ means) / texts
    variance = max(float(np.trace(covariance)) / size, 1e-12)
    covariance = (1.0 - _SHRINKAGE) * covariance + _SHRINKAGE * variance * np.eye(size)
    directions = np.linalg.solve(covariance, means.T)  # [size, labels]
    return directions, -0.5 * np.einsum("ld,dl->l", means, directions)
