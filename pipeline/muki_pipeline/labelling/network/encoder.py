"""An encoder's stack of layers, and which parts of it a pass does not need to compute."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from muki_pipeline.errors import MukiError

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


class Prefix:
    """The layers before the last few: without dropout in them, they need to run once per text, not once per pass.

    Args:
        model: The classifier.
        last: How many layers come after the prefix.
        teacher: Named in errors.

    Attributes:
        next_layer: Name of the first layer after the prefix.

    Raises:
        MukiError: There are not that many layers.
    """

    def __init__(self, model: PreTrainedModel, last: int, teacher: str) -> None:
        stack = layer_stack(model)
        if stack is None or len(stack[1]) < last:
            count = len(stack[1]) if stack else "no list of"
            raise MukiError(
                f"label.dropout_layers is {last}, but its encoder has {count} layers",
                where=f"teacher {teacher}",
                fix="Lower it, or leave it out for dropout everywhere",
            )
        name, layers = stack
        self.next_layer = f"{name}.{len(layers) - last}"
        self._layers = list(layers[: len(layers) - last])

    @contextmanager
    def recording(self) -> Iterator[list[Any]]:
        """Inside, the prefix's output of every forward pass is appended to the list that this yields."""
        outputs: list[Any] = []
        hook = (
            self._layers[-1].register_forward_hook(lambda module, inputs, output: outputs.append(output))
            if self._layers
            else None
        )
        try:
            yield outputs
        finally:
            if hook is not None:
                hook.remove()

    @contextmanager
    def replaced_by(self, output: Any) -> Iterator[None]:
        """Inside, the prefix does not run: each of its layers returns `output`."""
        for layer in self._layers:
            layer.forward = lambda *args, **kwargs: output  # the last layer's output is all that is read
        try:
            yield
        finally:
            for layer in self._layers:
                del layer.forward
