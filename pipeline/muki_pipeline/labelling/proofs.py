"""What must hold of a teacher's numbers, seen on a few texts before a shard is labelled."""

import torch
from torch import Tensor

from muki_pipeline.config import Dtype
from muki_pipeline.errors import MukiError, shortlist

_TOLERANCE = {"float32": 1e-3, "bfloat16": 1e-1}
"""Rounding differs with a batch's shape: by how much logits may move before it is more than rounding."""
_TOKENS_THAT_DIFFER = 4
"""Of a text of fewer tokens two passes may well keep the same elements."""
_OTHER = "Use a teacher of another architecture"


def check_probe(
    teacher: str, ids: list[list[int]], batched: Tensor, single: Tensor, other: Tensor, dtype: Dtype
) -> None:
    """Two passes must differ, a text's numbers must not depend on its batch, and different texts must have others.

    Args:
        teacher: Named in errors.
        ids: The tokens of each text.
        batched: Logits of one pass, `[texts, labels]`, of the texts in one batch.
        single: The same of each text alone.
        other: As `batched`, of another pass.
        dtype: What was computed in.

    Raises:
        MukiError: One of these does not hold.
    """
    where = f"teacher {teacher}"
    if max(map(len, ids)) >= _TOKENS_THAT_DIFFER and torch.equal(batched, other):
        fix = f"Set a higher teachers.{teacher}.dropout"
        raise MukiError("two dropout passes gave the same numbers", where=where, fix=fix)
    difference = float((batched - single).abs().max() / batched.abs().max().clamp(min=1.0))
    if difference > _TOLERANCE[dtype]:
        what = f"a text's logits depend on its batch (they differ by {difference:.2g})"
        raise MukiError(what, where=where, fix=f"{_OTHER}: this one's numbers depend on more than the text")
    if _differ(ids) and bool((single == single[0]).all()):
        what = "its logits are the same for different texts: on this machine the network reads nothing of them"
        raise MukiError(what, where=where, fix=f"{_OTHER}, or the hardware that its own code needs")


def check_finite(teacher: str, values: Tensor, ids: list[str], when: str) -> None:
    """Numbers must be numbers.

    Args:
        teacher: Named in errors.
        values: `[texts, labels]`.
        ids: Of the texts.
        when: In which pass.

    Raises:
        MukiError: Some are NaN or infinite, with the first ids.
    """
    bad = (~torch.isfinite(values)).any(dim=-1).nonzero().flatten().tolist()
    if bad:
        what = f"logits are NaN or infinite {when} for {len(bad)} texts: {shortlist([ids[row] for row in bad])}"
        fix = "Look at these texts and at the model's weights; with bfloat16, try label.dtype: float32"
        raise MukiError(what, where=f"teacher {teacher}", fix=fix)


def _differ(ids: list[list[int]]) -> bool:
    """Whether two of the texts have other words: a network may well read two texts of unknown words alike."""
    return len({frozenset(each) for each in ids if len(each) >= _TOKENS_THAT_DIFFER}) > 1
