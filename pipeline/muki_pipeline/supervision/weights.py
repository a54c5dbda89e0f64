"""How much each text counts in the student's loss (docs/method.md, step 7), and which texts no teacher knows."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from muki_pipeline.config import POSTERIORS, Integrate
from muki_pipeline.errors import MukiError
from muki_pipeline.routing.router import Router
from muki_pipeline.routing.scorers import TeacherOutputs
from muki_pipeline.supervision.strategies import SILENT, teacher_margins


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
        border = None
        if share and not (is_silent := np.asarray(sample.is_silent.all(axis=1))).all():
            border = float(np.quantile(rounded(router.familiarity(sample))[~is_silent], share))
        weigher = cls(router, settings, border)
        weights = weigher._of_known(margins_of(rounded(router.scores(sample)), sample, settings), sample)[
            ~weigher.is_foreign(sample)
        ]
        if not weights.any():
            raise MukiError("no teacher has an answer to any text", where="teachers", fix="Check their answers")
        return replace(weigher, unit=float(weights[weights > 0].mean())) if settings.normalise_weights else weigher

    def is_foreign(self, outputs: TeacherOutputs) -> NDArray[np.bool_]:
        """`[rows]`, whether a text seems to belong to no teacher's labels, or a person has said so."""
        is_silent = np.asarray(outputs.is_silent.all(axis=1))  # nobody has an answer, which tells nothing of the text
        found = np.zeros(is_silent.shape, dtype=np.bool_)
        if self.border is not None:
            found = (rounded(self.router.familiarity(outputs)) < self.border) & ~is_silent
        if outputs.anchors is not None:
            found[outputs.anchors.rows] = False
            found[outputs.anchors.foreign] = True
        return found

    def __call__(
        self, margins: NDArray[np.float64], outputs: TeacherOutputs, is_foreign: NDArray[np.bool_]
    ) -> NDArray[np.float64]:
        """Weights `[rows]`; 0 where nobody has an answer, and for foreign texts that the student has no label for.

        Args:
            margins: `[rows]`, see `margins_of`.
            outputs: What the scorer reads of these texts.
            is_foreign: `[rows]`, see `is_foreign`.
        """
        of_foreign = 0.0 if self.settings.unknown_label is None else 1.0
        return np.where(is_foreign, of_foreign, self._of_known(margins, outputs) / self.unit)

    def _of_known(self, margins: NDArray[np.float64], outputs: TeacherOutputs) -> NDArray[np.float64]:
        """Raw weights of texts that some teacher knows."""
        is_by_margin = self.settings.reweight == "margin"
        weights = margins if is_by_margin else np.ones(len(margins))
        weights = np.where(outputs.is_silent.all(axis=1), 0.0, weights)
        if outputs.anchors is not None:
            weights[outputs.anchors.rows] = 1.0  # a person knows the label, however many teachers do
        return weights


def rounded(scores: NDArray[np.floating]) -> NDArray[np.float64]:
    """Scores as they are stored."""
    return scores.astype(np.float32).astype(np.float64)


def margins_of(scores: NDArray[np.floating], outputs: TeacherOutputs, settings: Integrate) -> NDArray[np.float64]:
    """`[rows]`, how far the best answer leads, see `teacher_margins`: a posterior is added up for equal answers.

    Args:
        scores: `[rows, teachers]`.
        outputs: The teachers' logits.
        settings: The `integrate` block.
    """
    space, is_silent = outputs.label_space, outputs.is_silent
    is_shared = settings.scorer in POSTERIORS and (space.known.sum(axis=1) > 1).any()
    if not is_shared and not is_silent.any():
        return teacher_margins(scores)
    answers = np.tile(np.arange(scores.shape[1]), (len(scores), 1))
    if is_shared:
        pairs = zip(outputs.teachers, space.columns, strict=True)
        answers = np.stack([columns[shard.logits.argmax(axis=1)] for shard, columns in pairs], axis=1)
    chosen = np.where(is_silent, -np.inf, scores).argmax(axis=1) if settings.strategy == "hard" else None
    return teacher_margins(scores, np.where(is_silent, SILENT, answers), chosen)
