"""Dropout that costs next to nothing: one mask for all texts of a batch.

A CPU draws masks one number at a time, a number for every text, position and unit: up to half of a training step. Masks
that a batch shares regularise as well (results/training): students are as accurate, and as well calibrated.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


class SharedDropout(TorchFunctionMode):
    """Inside, `torch.nn.functional.dropout` (and so `nn.Dropout`) drops the same elements of every text of a batch.

    Of attention, `[batch, heads, queries, keys]`, nothing is dropped; vectors `[batch, units]` have masks of their own,
    which are small.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Torch calls this in place of each of its functions."""
        kwargs = kwargs or {}
        return _dropout(*args, **kwargs) if func is nn.functional.dropout else func(*args, **kwargs)


def _dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    if not training or p == 0 or input.ndim == 4:
        return input
    if input.ndim < 3:
        return torch.dropout(input, p, train=True)
    kept = torch.empty((1, *input.shape[1:]), dtype=input.dtype, device=input.device).bernoulli_(1 - p)
    # One rounding: in bfloat16 a factor of 1 / (1 - p) would itself be rounded to three digits.
    return torch.addcmul(input.new_zeros(()), input, kept, value=1 / (1 - p))
