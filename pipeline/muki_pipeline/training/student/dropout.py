"""Dropout whose masks cost little on a CPU.

PyTorch draws a mask one random number at a time: up to half of a training step. Here a random number of 64 bits makes
eight elements of a mask, and attention, where most of the elements are, drops nothing.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_STEPS = 256
"""Probabilities are multiples of 1/256."""


class CheapDropout(TorchFunctionMode):
    """Inside, `torch.nn.functional.dropout` (and so `nn.Dropout`) rounds p to a multiple of 1/256.

    Of attention, `[batch, heads, queries, keys]`, nothing is dropped, eager or in one kernel, as on a GPU.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Torch calls this in place of each of its functions."""
        kwargs = kwargs or {}
        if func is nn.functional.scaled_dot_product_attention:
            return _attention(*args, **kwargs)
        return _dropout(*args, **kwargs) if func is nn.functional.dropout else func(*args, **kwargs)


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    *rest: Any,
    **more: Any,
) -> Tensor:
    return nn.functional.scaled_dot_product_attention(query, key, value, attn_mask, 0.0, *rest, **more)


def _dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    dropped = min(round(p * _STEPS), _STEPS - 1)  # of p near 1, some elements stay
    if not training or dropped == 0 or input.ndim == 4:
        return input
    drawn = torch.empty(-(-input.numel() // 8), dtype=torch.int64, device=input.device)
    drawn.random_(torch.iinfo(torch.int64).min, None)  # all 64 bits
    kept = (drawn.view(torch.uint8)[: input.numel()] >= dropped).view_as(input).to(input.dtype)
    # One rounding: in bfloat16 a factor of 1 / (1 - p) would itself be rounded to three digits.
    return torch.addcmul(input.new_zeros(()), input, kept, value=_STEPS / (_STEPS - dropped))
