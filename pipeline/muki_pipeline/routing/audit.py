"""Texts whose label a person has given: their posterior is known, and they tell how accurate a view is."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from muki_pipeline.labels.space import LabelSpace
from muki_pipeline.routing.accuracy import Share, share_right
from muki_pipeline.routing.answers import Anchors
from muki_pipeline.routing.silence import choice

Floats = NDArray[np.floating]

_PRIOR_TEXTS = 60
"""Anchors that an estimate from agreement counts as much as. With 10, thirty answers cost a point on other texts."""


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
    is_silent: NDArray[np.bool_]
    """`[texts, teachers]`, whether a teacher has no answer: it is not chosen."""

    def choices(self, posterior: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """The teacher that is chosen for each text, and whether that of each random anchor knows its label.

        Args:
            posterior: `[texts, teachers]`, before silent teachers lose their vote.
        """
        is_random = self.anchors.is_random
        chosen = choice(posterior, self.is_silent, is_posterior=True)
        return chosen, self.label_space.known[self.anchors.columns[is_random], chosen[self.anchors.rows[is_random]]]

    def share_right(self, posterior: NDArray[np.float64]) -> tuple[int, Share]:
        """How many anchors were drawn at random, and the share of right choices that they tell.

        Args:
            posterior: See `choices`; of the views, which do not know the anchors.
        """
        chosen, right = self.choices(posterior)
        certainty = np.take_along_axis(posterior, chosen[:, None], axis=1)[:, 0]
        return len(right), share_right(certainty, certainty[self.anchors.rows[self.anchors.is_random]], right)

    def accuracy(self, logits: Floats, estimate: float) -> float:
        """A view's accuracy: what was estimated, corrected by the anchors as far as there are enough."""
        weights = self.anchors.stands_for[self.anchors.is_random]
        if not len(weights):
            return estimate
        _, right = self.choices(np.asarray(softmax(logits, axis=1)))
        worth = weights.sum() ** 2 / np.square(weights).sum()  # as many equal answers tell as much (Kish 1965)
        return float((worth * np.average(right, weights=weights) + _PRIOR_TEXTS * estimate) / (worth + _PRIOR_TEXTS))
