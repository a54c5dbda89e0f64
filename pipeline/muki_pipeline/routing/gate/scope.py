"""How familiar a text is: whether any teacher knows its label, by three witnesses that need no label.

A text that no teacher knows leaves even the surest of them unsure, it is near no label's name, and its content is like
that of other such texts. The first two witnesses err for different reasons, so their sum begins. From it the content
learns what foreign texts are like, as one more Gaussian beside those of the labels.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from muki_pipeline.routing.gate.gaussian import GaussianModel
from muki_pipeline.routing.gate.scale import Scale
from muki_pipeline.routing.gate.views import Prepared

Floats = NDArray[np.floating]

_FOREIGN = 0.3
"""Share of the corpus that the content takes for foreign while it learns; any from 0.1 to 0.4 does nearly as well."""
_STEEPNESS = 3.0
"""Of the step between foreign and familiar texts, for familiarity in standard deviations."""
_ROUNDS = 2
_MOST_SAID = 3.0
"""Standard deviations up to which the content is heard: a Gaussian far from all texts is too sure."""


@dataclass(frozen=True)
class Scope:
    """Orders texts by how likely it is that some teacher knows them.

    Attributes:
        witnesses: Scale of the surest teacher's energy and of the similarity to the nearest label name.
        both: Scale of their sum.
        content: Gaussians of the union's labels and, in the last place, of foreign texts.
        contrast: Scale of what it says.
    """

    witnesses: Scale
    both: Scale
    content: GaussianModel
    contrast: Scale

    @classmethod
    def fit(cls, texts: Prepared, targets: Floats) -> Self:
        """The scope of a sample of the corpus.

        Args:
            texts: The sample.
            targets: `[texts, labels]`, what the gate takes each text for, each row sums to 1.
        """
        witnesses = Scale.fit(_witnesses(texts))
        both = Scale.fit(witnesses(_witnesses(texts)).sum(axis=1))
        familiarity = _begin(texts, witnesses, both)
        for _ in range(_ROUNDS):
            border, spread = np.quantile(familiarity, _FOREIGN), max(float(familiarity.std()), 1e-12)
            foreign = expit(_STEEPNESS * (border - familiarity) / spread)[:, None]
            content = GaussianModel.fit(
                texts.meaning, texts.folds, np.concatenate([(1.0 - foreign) * targets, foreign], axis=1)
            )
            scope = cls(witnesses, both, content, Scale.fit(_contrast(content, texts)))
            familiarity = scope(texts)
        return scope

    def __call__(self, texts: Prepared) -> NDArray[np.float64]:
        """`[texts]`, higher for a text that is more likely to have a label that some teacher knows."""
        said = self.contrast(_contrast(self.content, texts))
        return _begin(texts, self.witnesses, self.both) + np.clip(said, -_MOST_SAID, _MOST_SAID)


def _witnesses(texts: Prepared) -> NDArray[np.floating]:
    """`[texts, 2]`."""
    return np.stack([texts.scores[..., 0].max(axis=1), texts.names[..., 0].max(axis=1)], axis=1)


def _begin(texts: Prepared, witnesses: Scale, both: Scale) -> NDArray[np.float64]:
    """What is known before the content has learned, `[texts]`."""
    return both(witnesses(_witnesses(texts)).sum(axis=1))


def _contrast(content: GaussianModel, texts: Prepared) -> NDArray[np.float64]:
    """How much better the likeliest label explains a text than foreign texts do, `[texts]`."""
    likelihoods = content(texts.meaning, texts.folds)
    found: NDArray[np.float64] = likelihoods[:, :-1].max(axis=1) - likelihoods[:, -1]
    return found
