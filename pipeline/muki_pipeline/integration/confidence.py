"""How sure one teacher is: entropies, mutual information, energy. Pure array functions over its stored numbers."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]


def _by_label(values: Floats) -> NDArray[np.float64]:
    """A copy in double precision that holds each label's values side by side.

    There are few labels and many rows: a sum over labels then adds whole columns, several times as fast.
    """
    return np.array(values, dtype=np.float64, order="F")


def softmax(logits: Floats, temperature: float = 1.0) -> NDArray[np.float64]:
    """Softmax of `logits / temperature` over the last axis, in double precision."""
    scaled = _by_label(logits)
    scaled /= temperature
    scaled -= scaled.max(axis=-1, keepdims=True)
    np.exp(scaled, out=scaled)
    scaled /= scaled.sum(axis=-1, keepdims=True)
    return scaled


def entropy(probs: Floats) -> NDArray[np.float64]:
    """Shannon entropy in nats over the last axis; probabilities of exactly 0 count as 0."""
    p = _by_label(probs)
    logs = np.log(p, out=np.zeros_like(p), where=p > 0)
    nats: NDArray[np.float64] = np.maximum(-(p * logs).sum(axis=-1), 0.0)
    return nats


def entropy_of_logits(logits: Floats) -> NDArray[np.float64]:
    """Entropy in nats of softmax(logits), taken in log space: H = log Z - Σ p z."""
    z = _by_label(logits)
    z -= z.max(axis=-1, keepdims=True)
    weights = np.exp(z)
    total = weights.sum(axis=-1)
    nats: NDArray[np.float64] = np.maximum(np.log(total) - (weights * z).sum(axis=-1) / total, 0.0)
    return nats


def mutual_information(entropies: Floats, expected_entropies: Floats) -> NDArray[np.float64]:
    """Mutual information (BALD) in nats: entropy of the average less average entropy; never below 0."""
    return np.maximum(np.asarray(entropies, dtype=np.float64) - expected_entropies, 0.0)


def energy(logits: Floats) -> NDArray[np.float64]:
    """Negative free energy, log Σ exp(logits), over the last axis: large for inputs that a network knows.

    Liu et al. 2020 (arXiv:2010.03759), Eq. 4 at temperature 1, with the sign for which higher is more certain.
    """
    z = _by_label(logits)
    highest = z.max(axis=-1, keepdims=True)
    z -= highest
    np.exp(z, out=z)
    energies: NDArray[np.float64] = np.log(z.sum(axis=-1)) + highest[..., 0]
    return energies


class StoredOutputs(Protocol):
    """What is stored of one teacher: `probs` and `logits` `[rows, labels]`, the entropies `[rows]` in nats."""

    @property
    def probs(self) -> NDArray[np.float32]:
        """Average over the passes."""

    @property
    def logits(self) -> NDArray[np.float32]:
        """Without dropout."""

    @property
    def entropy(self) -> NDArray[np.float32]:
        """Of `probs`."""

    @property
    def expected_entropy(self) -> NDArray[np.float32]:
        """Average entropy of a pass."""


@dataclass(frozen=True)
class Confidence:
    """How sure one teacher is of each text, from its own numbers alone; higher is more certain.

    Attributes:
        columns: The columns of a label shard that it reads.
        measure: The stored numbers and how many labels the teacher has -> `[rows]`.
    """

    columns: tuple[str, ...]
    measure: Callable[[StoredOutputs, int], NDArray[np.float64]]


def _certainty(nats: Floats, labels: int) -> NDArray[np.float64]:
    """1 - u / log C (docs/method.md, step 4), so that teachers of different label counts compare."""
    return 1.0 - np.asarray(nats, dtype=np.float64) / math.log(labels)


def _mutual_information(outputs: StoredOutputs) -> NDArray[np.float64]:
    return mutual_information(outputs.entropy, outputs.expected_entropy)


CONFIDENCES: dict[str, Confidence] = {
    # MUKI, Eq. 6
    "mc_entropy": Confidence(("entropy",), lambda outputs, labels: _certainty(outputs.entropy, labels)),
    # the same without dropout
    "entropy": Confidence(("logits",), lambda outputs, labels: _certainty(entropy_of_logits(outputs.logits), labels)),
    # BALD, Houlsby et al. 2011
    "mutual_information": Confidence(
        ("entropy", "expected_entropy"), lambda outputs, labels: _certainty(_mutual_information(outputs), labels)
    ),
    # Hendrycks & Gimpel 2017
    "max_probability": Confidence(("logits",), lambda outputs, labels: softmax(outputs.logits).max(axis=-1)),
    "mc_max_probability": Confidence(("probs",), lambda outputs, labels: outputs.probs.max(axis=-1).astype(np.float64)),
    "energy": Confidence(("logits",), lambda outputs, labels: energy(outputs.logits)),
}
