"""How much each text counts in the student's loss (docs/method.md, step 7)."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from muki_pipeline.config import Integrate
from muki_pipeline.errors import MukiError
from muki_pipeline.routing.router import Router
from muki_pipeline.routing.scorers import TeacherOutputs
from muki_pipeline.supervision.strategies import teacher_margins


@dataclass(frozen=True)
class Weigher:
    """Weighs texts, fitted to a sample of the corpus.

    Attributes:
        router: Tells how familiar a text is.
        settings: The `integrate` block.
        border: Texts that are less familiar are taken for texts that no teacher knows; None where all are taught.
        unit: What weights are divided by.
    """

    router: Router
    settings: Integrate
    border: float | None = None
    unit: float = 1.0

    @classmethod
    def fit(cls, router: Router, sample: TeacherOutputs, settings: Integrate) -> Self:
        """The weigher of a corpus.

        Raises:
            MukiError: No text of the sample is taught.
        """
        share = settings.unknown_share
        border = float(np.quantile(rounded(router.familiarity(sample)), share)) if share else None
        weigher = cls(router, settings, border)
        weights = weigher(rounded(router.scores(sample)), sample)
        if not weights.any():
            raise MukiError("no teacher has an answer to any text", where="teachers", fix="Check their answers")
        return replace(weigher, unit=float(weights[weights > 0].mean())) if settings.normalise_weights else weigher

    def __call__(self, scores: NDArray[np.floating], outputs: TeacherOutputs) -> NDArray[np.float64]:
        """Weights `[rows]`; 0 where no teacher answers, or none seems to know the label, and no person has said it.

        Args:
            scores: `[rows, teachers]`.
            outputs: What the scorer reads of these texts.
        """
        is_by_margin = self.settings.reweight == "margin"
        weights = teacher_margins(scores, outputs.is_silent) if is_by_margin else np.ones(len(scores))
        is_left_out = np.asarray(outputs.is_silent.all(axis=1))
        if self.border is not None:
            is_left_out |= rounded(self.router.familiarity(outputs)) < self.border
        if outputs.anchors is not None:
            is_left_out[outputs.anchors.rows] = False
            is_left_out[outputs.anchors.foreign] = True
        return np.where(is_left_out, 0.0, weights / self.unit)


def rounded(scores: NDArray[np.floating]) -> NDArray[np.float64]:
    """Scores as they are stored."""
    return scores.astype(np.float32).astype(np.float64)
