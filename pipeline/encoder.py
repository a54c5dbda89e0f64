"""An encoder's stack of layers, and what of it a pass need not compute."""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from pipeline.errors import MukiError

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

    Behind the last layer's attention every position goes its own way, and a head that pools the first token (BERT,
    RoBERTa, ELECTRA, DeBERTa and their kin) throws the others away: the layer's output projection and feed-forward
    block are nine twelfths of its work. Whether that holds is tried on a probe; where it does not, nothing changes.

    Args:
        model: A classifier in `eval()`.
        token_ids: A tokenised text of two ids or more, for the probe.

    Returns:
        Whether the saving is in place.
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
    except (RuntimeError, IndexError):  # this architecture needs the other positions: shapes do not fit without them
        hook.remove()
        return False
    if (whole - saved).abs().max() > _ROUNDING * whole.abs().max().clamp(min=1.0):
        hook.remove()
        return False
    return True


def _first_position(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(tensor[:, :1] for tensor in inputs)


class Prefix:
    """The layers before the last few: without dropout in them they need to run once a text, not once a pass.

    Args:
        model: The classifier.
        kept: How many layers stand behind the prefix.
        teacher: Named in errors.

    Attributes:
        first_kept: Name of the first layer behind the prefix.
        output: What the prefix said in the last forward pass that ran it.
        replay: Where set, the prefix says this instead of running.

    Raises:
        MukiError: There are not that many layers.
    """

    def __init__(self, model: PreTrainedModel, kept: int, teacher: str) -> None:
        stack = layer_stack(model)
        if stack is None or len(stack[1]) < kept:
            raise MukiError(
                f"label.dropout_layers is {kept}, its encoder has {len(stack[1]) if stack else 'no list of'} layers",
                where=f"teacher {teacher}",
                fix="Lower it, or leave it out for dropout everywhere",
            )
        name, layers = stack
        self.output: Any = None
        self.replay: Any = None
        self.first_kept = f"{name}.{len(layers) - kept}"
        for layer in layers[: len(layers) - kept]:
            layer.forward = partial(self._through, layer.forward)

    def _through(self, layer: Any, *args: Any, **kwargs: Any) -> Any:
        if self.replay is None:
            self.output = layer(*args, **kwargs)
            return self.output
        return self.replay
