"""A network in bfloat16: its embeddings alone, under autocast on a CPU, or all but its head, on a GPU."""

import torch
from torch import nn
from transformers import PreTrainedModel

from muki_pipeline.models.heads import find_head


def begin_in_bfloat16(model: PreTrainedModel) -> None:
    """Make a classifier's embeddings bfloat16, and so all that is added to them, layer by layer, under autocast."""
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            module.to(torch.bfloat16)


def hold_in_bfloat16(model: PreTrainedModel, token_ids: list[int]) -> bool:
    """Make a classifier bfloat16, all but its head: then it needs no autocast, which would keep half of it in float32.

    Args:
        model: A classifier in `eval()`.
        token_ids: A tokenised text, for the probe.

    Returns:
        Whether it is; a network with code that takes float32 alone is left as it was.
    """
    before = {name: parameter.data for name, parameter in model.named_parameters()}
    head = find_head(model)
    for name, parameter in model.named_parameters():
        parameter.data = before[name].to(torch.bfloat16)
    hook = None
    if isinstance(head, nn.Linear):
        head.float()
        hook = head.register_forward_pre_hook(lambda module, inputs: (inputs[0].float(),))
    try:
        model(torch.tensor([token_ids], device=model.device))
    except torch.OutOfMemoryError:  # says nothing about types
        raise
    except RuntimeError:
        if hook is not None:
            hook.remove()
        for name, parameter in model.named_parameters():
            parameter.data = before[name]
        return False
    return True
