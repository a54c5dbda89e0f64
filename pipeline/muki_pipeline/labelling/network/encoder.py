"""An encoder's stack of layers, and which parts of it a pass does not need to compute."""

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

# Logits move by rounding alone when a product's shape changes; a head that reads more than one position moves them far.
_ROUNDING = 1e-4
_PROBE_LENGTHS = (3, 9)


def layer_stack(model: PreTrainedModel) -> tuple[str, nn.ModuleList] | None:
    """The encoder's layers and the name they go by: its longest list of modules of one class, None without any."""
    stacks = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and len({type(layer) for layer in module}) == 1
    ]
    return max(stacks, key=lambda stack: len(stack[1]), default=None)


@torch.inference_mode()
def keep_pooled_position(model: PreTrainedModel, token_ids: list[int]) -> bool:
    """Let the last layer compute the first position only, wherever the classifier reads no other.

    After the last layer's attention, positions no longer mix, and a head that pools the first token (BERT, RoBERTa,
    ELECTRA, DeBERTa and similar) ignores the others: the layer's output projection and feed-forward block are nine
    twelfths of its work. A probe tests whether that holds; if it does not, nothing changes.

    Args:
        model: A classifier in `eval()`.
        token_ids: A tokenised text of two ids or more, for the probe.

    Returns:
        Whether the last layer now computes the first position only.
    """
    stack = layer_stack(model)
    output = dict(stack[1][-1].named_modules()).get("attention.output") if stack else None
    if output is None:
        return False
    lengths = torch.tensor(_PROBE_LENGTHS, device=model.device)
    longest = max(_PROBE_LENGTHS)
    ids = torch.tensor([(token_ids * longest)[:longest]] * len(lengths), device=model.device)
    mask = (torch.arange(longest, device=model.device) < lengths[:, None]).long()
    whole = model(input_ids=ids, attention_mask=mask).logits
    hook = output.register_forward_pre_hook(_first_position)
    try:
        saved = model(input_ids=ids, attention_mask=mask).logits
    except (RuntimeError, IndexError, TypeError):  # this architecture needs the other positions, or hands on more
        hook.remove()
        return False
    if (whole - saved).abs().max() > _ROUNDING * whole.abs().max().clamp(min=1.0):
        hook.remove()
        return False
    return True


def _first_position(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(tensor[:, :1] for tensor in inputs)
