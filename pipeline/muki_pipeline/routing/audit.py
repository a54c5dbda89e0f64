"""Texts whose label a person has given: their posterior is known, and they tell how accurate a view is."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from muki_pipeline.labels.space import LabelSpace
from muki_pipeline.routing.accuracy import Share, share_right
from muki_pipeline.routing.answers import Anchors

Floats = NDArray[np.floating]

_PRIOR_TEXTS = 10
"""Anchors that an estimate from agreement counts as much as."""


def anchored(posterior: NDArray[np.float64], anchors: Anchors, label_space: LabelSpace) -> NDArray[np.float64]:
    """The posterior, with anchors given to the teachers that know their label."""
    known = label_space.known[anchors.columns].astype(np.float64)  # [anchors, teachers]
    fixed = posterior.copy()
    fixed[anchors.rows] = known / known.sum(axis=1, keepdims=True)
    return fixed


@dataclass(frozen=True)
class Audit:
    """What the anchors that were drawn at random say about a view: they alone stand for the corpus.

    The content view is honest about them: it judges a text by what it learned from other folds.
    """

    anchors: Anchors
    label_space: LabelSpace

    def choices(self, logits: Floats) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """The teacher that a view prefers for each random anchor, and whether it knows the label."""
        is_random = self.anchors.is_random
        teachers = logits[self.anchors.rows[is_random]].argmax(axis=1)
        return teachers, self.label_space.known[self.anchors.columns[is_random], teachers]

    def share_right(self, posterior: Floats) -> tuple[int, Share]:
        """How many anchors were drawn at random, and the share of the corpus whose right teacher they say is chosen.

        Args:
            posterior: `[texts, teachers]` of the views, which do not know the anchors.
        """
        _, right = self.choices(posterior)
        certainty = posterior.max(axis=1)
        return len(right), share_right(certainty, certainty[self.anchors.rows[self.anchors.is_random]], right)

    def accuracy(self, logits: Floats, estimate: float) -> float:
        """A view's accuracy: what was estimated, corrected by the anchors as far as there are enough."""
        _, right = self.choices(logits)
        weights = self.anchors.stands_for[self.anchors.is_random]
        if not len(weights):
            return estimate
        worth = weights.sum() ** 2 / np.square(weights).sum()  # as many equal answers tell as much (Kish 1965)
        return float((worth * np.average(right, weights=weights) + _PRIOR_TEXTS * estimate) / (worth + _PRIOR_TEXTS))
