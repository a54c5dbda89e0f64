"""How sure one teacher is: entropies, mutual information, energy. Pure array functions over its stored numbers."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import special

Floats = NDArray[np.floating]


def softmax(logits: Floats, temperature: float = 1.0) -> NDArray[np.float64]:
    """Softmax of `logits / temperature` over the last axis, in double precision."""
    return np.asarray(special.softmax(np.asarray(logits, dtype=np.float64) / temperature, axis=-1))


def entropy(probs: Floats) -> NDArray[np.float64]:
    """Shannon entropy in nats over the last axis; probabilities of exactly 0 count as 0."""
    nats: NDArray[np.float64] = special.entr(np.asarray(probs, dtype=np.float64)).sum(axis=-1)
    return np.maximum(nats, 0.0)


def entropy_of_logits(logits: Floats) -> NDArray[np.float64]:
    """Entropy in nats of softmax(logits), taken in log space: H = -Σ p log p."""
    log_p = special.log_softmax(np.asarray(logits, dtype=np.float64), axis=-1)
    return np.asarray(np.maximum(-(np.exp(log_p) * log_p).sum(axis=-1), 0.0))


def mutual_information(entropies: Floats, expected_entropies: Floats) -> NDArray[np.float64]:
    """Mutual information (BALD) in nats: entropy of the average less average entropy; never below 0."""
    return np.maximum(np.asarray(entropies, dtype=np.float64) - expected_entropies, 0.0)


def energy(logits: Floats) -> NDArray[np.float64]:
    """Negative free energy, log Σ exp(logits), over the last axis: large for inputs that a network knows.

    Liu et al. 2020 (arXiv:2010.03759), Eq. 4 at temperature 1, with the sign for which higher is more certain.
    """
    return np.asarray(special.logsumexp(np.asarray(logits, dtype=np.float64), axis=-1))


class StoredOutputs(Protocol):
    """What is stored of one teacher: `probs` and `logits` `[rows, labels]`, the entropies `[rows]` in nats.

    Attributes:
        has_logits: Whether logits are a network's own. Else they are logarithms of probabilities, without an energy.
        has_samples: Whether there is a mutual information.
    """

    @property
    def has_logits(self) -> bool:
        """See `StoredOutputs`."""

    @property
    def has_samples(self) -> bool:
        """See `StoredOutputs`."""

    @property
    def is_silent(self) -> NDArray[np.bool_]:
        """`[rows]`, whether the teacher has no answer, and so no vote."""

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
        title: It in a few words, for figures and pages.
        columns: The columns of a label shard that it reads.
        needs: What a file of answers may lack and it needs: `samples`, `logits`.
        measure: The stored numbers and how many labels the teacher has -> `[rows]`.
    """

    title: str
    columns: tuple[str, ...]
    measure: Callable[[StoredOutputs, int], NDArray[np.float64]]
    needs: tuple[str, ...] = ()


_LEAST_NATS = 1e-6
"""Below it an entropy, or a mutual information of float32 entropies, is rounding."""


def two_scores(outputs: StoredOutputs) -> NDArray[np.float64]:
    """Energy and -log mutual information, `[rows, 2]`: the two scores whose errors are least alike.

    Where a file of answers gives no logits or no samples, -log entropy is in place of what is missing.
    """
    surest = -np.log(np.maximum(entropy_of_logits(outputs.logits), _LEAST_NATS))
    first = energy(outputs.logits) if outputs.has_logits else surest
    if not outputs.has_samples:
        return np.stack([first, surest], axis=-1)
    second = -np.log(np.maximum(_mutual_information(outputs, outputs.logits.shape[-1]), _LEAST_NATS))
    return np.stack([first, second], axis=-1)


def _certainty(nats: Floats, labels: int) -> NDArray[np.float64]:
    """1 - u / log C (docs/method.md, step 4), so that teachers of different label counts compare."""
    return 1.0 - np.asarray(nats, dtype=np.float64) / math.log(labels)


def _mutual_information(outputs: StoredOutputs, labels: int) -> NDArray[np.float64]:
    """The largest that there can be, log C, where there is no answer: both entropies are the uniform distribution's."""
    found = mutual_information(outputs.entropy, outputs.expected_entropy)
    return np.where(outputs.is_silent, math.log(labels), found)


CONFIDENCES: dict[str, Confidence] = {
    # MUKI, Eq. 6
    "mc_entropy": Confidence(
        "MC entropy (MUKI)", ("entropy",), lambda outputs, labels: _certainty(outputs.entropy, labels)
    ),
    "entropy": Confidence(
        "entropy without dropout",
        ("logits",),
        lambda outputs, labels: _certainty(entropy_of_logits(outputs.logits), labels),
    ),
    # BALD, Houlsby et al. 2011
    "mutual_information": Confidence(
        "mutual information",
        ("entropy", "expected_entropy"),
        lambda outputs, labels: _certainty(_mutual_information(outputs, labels), labels),
        needs=("samples",),
    ),
    # Hendrycks & Gimpel 2017
    "max_probability": Confidence(
        "largest probability", ("logits",), lambda outputs, labels: softmax(outputs.logits).max(axis=-1)
    ),
    "mc_max_probability": Confidence(
        "largest MC probability", ("probs",), lambda outputs, labels: outputs.probs.max(axis=-1).astype(np.float64)
    ),
    "energy": Confidence("energy", ("logits",), lambda outputs, labels: energy(outputs.logits), needs=("logits",)),
}
