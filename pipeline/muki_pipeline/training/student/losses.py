"""The student's losses. To add one: a function, a line in `LOSSES`, and a strategy that names it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from muki_pipeline.training.student.alignment import AmalgamatedFeatures, CommonFeatures

Columns = Sequence[Sequence[int]]


def integration_loss(logits: Tensor, target: Tensor, weight: Tensor, temperature: float) -> Tensor:
    """mean_x m(x) · KL(T(x) ‖ S(x)) · T², in log space (MUKI, Eq. 10 as implemented; docs/method.md, step 8).

    Args:
        logits: `[batch, labels]`, the student's.
        target: `[batch, labels]`, golden supervision; 0 is allowed.
        weight: `[batch]`, m(x).
        temperature: T of the student's softmax.

    Returns:
        Scalar, nats.
    """
    log_student = torch.log_softmax(logits.float() / temperature, dim=-1)
    divergence = nn.functional.kl_div(log_student, target, reduction="none").sum(dim=-1)
    return (weight * divergence).mean() * temperature**2


def uhc_loss(logits: Tensor, teacher_targets: Tensor, columns: Columns, weight: Tensor, temperature: float) -> Tensor:
    """mean_x m(x) · Σ_i KL(q_i ‖ S renormalised over Y_i) · T² (UHC, Vongkulbhaisal et al. 2019, Eq. 8).

    Args:
        logits: `[batch, labels]`, the student's.
        teacher_targets: `[batch, labels of all teachers]`, the teachers' distributions one after the other; 0 where one
            has no answer.
        columns: For each teacher, the student's column of each of its labels.
        weight: `[batch]`, m(x).
        temperature: T of the student's softmax.

    Returns:
        Scalar, nats.
    """
    per_teacher = torch.split(teacher_targets, [len(teacher_columns) for teacher_columns in columns], dim=-1)
    losses = [
        integration_loss(logits[:, list(teacher_columns)], target, weight, temperature)
        for teacher_columns, target in zip(columns, per_teacher, strict=True)
    ]
    return torch.stack(losses).sum()


@dataclass(frozen=True)
class Loss:
    """A loss by name.

    Attributes:
        targets: The golden table's column that it reads beside `weight`.
        compute: Of the student's logits `[batch, labels]`, that column, each teacher's columns of the union, the
            weights `[batch]` and T.
        alignment: Of the widths of the student's and of each teacher's features: a module that computes a loss of
            features, which is added. It reads the column `teacher_features`.
    """

    targets: str
    compute: Callable[[Tensor, Tensor, Columns, Tensor, float], Tensor]
    alignment: Callable[[int, Sequence[int]], nn.Module] | None = None


def _to_target(logits: Tensor, target: Tensor, columns: Columns, weight: Tensor, temperature: float) -> Tensor:
    return integration_loss(logits, target, weight, temperature)


LOSSES = {
    "kl": Loss("target", _to_target),
    "uhc": Loss("teacher_targets", uhc_loss),
    "cfl": Loss("target", _to_target, CommonFeatures),
    "dfa": Loss("target", _to_target, AmalgamatedFeatures),
}
"""The losses, by the name in the golden table's manifest."""
