"""Attention with keyed dropout on its probabilities; as a transform, in one kernel where texts are long.

transformers lets one register an attention function. It gets the module that calls it, so each module of the network
carries its name and the network's masks.
"""

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import eager_mask

from muki_pipeline.labelling.network.masks import Masks, drop, keep_mask, refused
from muki_pipeline.labelling.network.probe import Probe

NAME = "muki_monte_carlo"
_CACHED_SCORES = {torch.bfloat16: 1 << 20}
"""On a CPU, how many scores are computed at a time: they should stay in the cache. Processors that multiply bfloat16
have a larger one (measured on a Xeon with AMX)."""
_CACHED_FLOATS = 1 << 18
_ONE_KERNEL_FROM = 128
"""Tokens from which a GPU is faster with twice the keys than with scores in its memory (measured on an H100)."""
_KERNEL_ROUNDING = 0.03


@dataclass(frozen=True)
class _Owner:
    """What an attention module carries: its name, and the masks of its network."""

    name: str
    masks: Masks


def use_keyed_attention(model: PreTrainedModel, masks: Masks) -> None:
    """Make a model's attention modules, where their architecture allows it, call `attention_forward`."""
    AttentionInterface.register(NAME, attention_forward)
    # Masks as explicit float biases, causal ones too; None only where every token sees every other.
    AttentionMaskInterface.register(NAME, eager_mask)
    model.set_attn_implementation(NAME)
    for name, module in model.named_modules():
        module.keyed_dropout = _Owner(name, masks)


def attention_forward(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention as transformers calls it, with the keyed mask on its probabilities during a pass.

    Args:
        module: The attention module.
        query: `[batch, heads, queries, size]`.
        key: `[batch, key heads, keys, size]`.
        value: `[batch, key heads, keys, value size]`.
        attention_mask: Added to the scores, broadcast to `[batch, heads, queries, keys]`.
        dropout: p, where the module's `training` flag is set, else 0.
        scaling: Factor of the scores; 1 / sqrt(size) by default.
        kwargs: What an architecture adds; `position_bias` is supported.

    Returns:
        `[batch, queries, heads, value size]`, and None for the probabilities.

    Raises:
        MukiError: The architecture uses an option that has no keyed dropout.
    """
    owner = module.keyed_dropout
    assert isinstance(owner, _Owner)
    masks = owner.masks
    if unsupported := [option for option in ("softcap", "s_aux") if kwargs.get(option) is not None]:
        raise refused(masks.teacher, f"attention with {', '.join(unsupported)} has no keyed dropout ({owner.name})")
    site = masks.site(owner.name, "attention", dropout, query)
    if site is None:
        output: Tensor
        output, _ = sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
        return output, None
    heads, queries, size = query.shape[1:]
    heads_per_key = heads // key.shape[1]
    key, value = repeat_kv(key, heads_per_key), repeat_kv(value, heads_per_key)
    biases = [bias for bias in (kwargs.get("position_bias"), attention_mask) if bias is not None]
    kept = masks.kept(site, (heads, queries, key.shape[2]), query)
    is_long = masks.one_kernel_from is not None and key.shape[2] >= masks.one_kernel_from
    dropping = in_one_kernel if is_long else by_heads
    scale = size**-0.5 if scaling is None else scaling
    return dropping(query, key, value, biases, scale, kept, site.p).transpose(1, 2).contiguous(), None


def by_heads(
    query: Tensor, key: Tensor, value: Tensor, biases: list[Tensor], scale: float, kept: Tensor, p: float
) -> Tensor:
    """The formula as it stands, on a CPU a few heads at a time, so that their scores stay in the cache.

    For arguments and result see `in_one_kernel`.
    """
    batch, heads, queries, _ = query.shape
    mixed = value.new_empty((batch, queries, heads, value.shape[-1])).transpose(1, 2)
    cached = _CACHED_SCORES.get(query.dtype, _CACHED_FLOATS)
    step = max(1, cached // (batch * queries * key.shape[2])) if query.device.type == "cpu" else heads
    every_head = [bias.expand(-1, heads, -1, -1) for bias in biases]
    tensors = (query, key, value, mixed, *every_head)
    by_heads = zip(torch.split(kept, step), *(torch.split(tensor, step, dim=1) for tensor in tensors), strict=True)
    unused = query.new_zeros(())
    for head_kept, q, k, v, head_output, *head_biases in by_heads:
        # The scale belongs to the product: it costs no sweep of its own, and no rounding.
        product = torch.baddbmm(unused, q.flatten(0, 1), k.flatten(0, 1).transpose(1, 2), beta=0, alpha=scale)
        scores = product.view(*q.shape[:3], k.shape[2])  # [batch, step, queries, keys]
        for bias in head_biases:
            scores += bias
        probs = torch.softmax(scores, dim=-1)
        head_output.copy_(drop(probs, head_kept, p, out=probs) @ v)
    return mixed


def in_one_kernel(
    query: Tensor, key: Tensor, value: Tensor, biases: list[Tensor], scale: float, kept: Tensor, p: float
) -> Tensor:
    """Attention with dropout by a kernel for attention without, which writes no scores to a GPU's memory.

    Every key is there twice, once with its value where it is kept, once with the value 0 where it is dropped: so the
    softmax is over all keys, and only those that are kept add to the result.

    Args:
        query: `[batch, heads, queries, size]`.
        key: `[batch, heads, keys, size]`.
        value: `[batch, heads, keys, value size]`.
        biases: Added to the scores, each broadcast to `[batch, heads, queries, keys]`.
        scale: Factor of the scores.
        kept: `[heads, queries, keys]`, 1 where a probability is kept and 0 where it is dropped.
        p: Probability that one is dropped.

    Returns:
        `[batch, heads, queries, value size]`.
    """
    keys = key.shape[2]
    # The kernels want rows of scores that begin at a multiple of 16.
    twice = kept.new_full((*kept.shape[:2], -(-2 * keys // 16) * 16), -torch.inf)[..., : 2 * keys]
    twice[..., :keys] = torch.where(kept > 0, 0.0, -torch.inf)
    twice[..., keys:] = torch.where(kept > 0, -torch.inf, 0.0)
    bias = twice.expand(len(query), -1, -1, -1)
    for each in biases:
        bias = bias + torch.cat([each, each], dim=-1).to(query.dtype)
    values = torch.cat([value * (1 / (1 - p)), torch.zeros_like(value)], dim=2)
    return nn.functional.scaled_dot_product_attention(
        query, torch.cat([key, key], dim=2), values, attn_mask=bias, scale=scale
    )


def applies(model: PreTrainedModel, probe: Probe) -> bool:
    """On a GPU; a CPU is faster with a few heads at a time."""
    return model.device.type != "cpu"


def apply(model: PreTrainedModel, probe: Probe, undo: ExitStack) -> None:
    """Attend to long texts in one kernel."""
    undo.callback(setattr, probe.masks, "one_kernel_from", None)
    probe.masks.one_kernel_from = _ONE_KERNEL_FROM


def prove(model: PreTrainedModel, probe: Probe) -> bool:
    """The kernel that this device picks must give what the formula gives."""
    draw = torch.Generator().manual_seed(0)
    shape = (3, 2, 2, _ONE_KERNEL_FROM, 64)  # query, key and value, each [batch, heads, tokens, size]
    query, key, value = torch.randn(shape, generator=draw).to(model.device, model.dtype)
    kept = keep_mask(1, (2, _ONE_KERNEL_FROM, _ONE_KERNEL_FROM), 0.5, model.device).to(model.dtype)
    formula, kernel = (attend(query, key, value, [], 0.125, kept, 0.5) for attend in (by_heads, in_one_kernel))
    return bool((formula - kernel).abs().max() <= _KERNEL_ROUNDING * formula.abs().max())
