"""Fast matrix products on an x86 CPU: weights packed once, with bias and GELU fused."""

import platform
from contextlib import ExitStack
from functools import partial

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.activations import GELUActivation

from muki_pipeline.labelling.network.probe import Probe


class PackedLinear(nn.Module):
    """Takes the place of an `nn.Linear`; keeps its `weight` and `bias`, whose types some architectures look at.

    Calls oneDNN's fused product by the name that torch.compile calls it by: the other way to it needs a C++ compiler.

    Args:
        weight: Of the layer, `[outputs, inputs]`.
        bias: Of the layer, `[outputs]`.
        dtype: What the product is computed in.
        gelu: Whether a GELU follows, as a part of it.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype, gelu: bool) -> None:
        super().__init__()
        self.weight, self.bias, self.dtype, self.gelu = weight, bias, dtype, gelu
        self.packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach().to(dtype))
        self.added = None if bias is None else bias.detach().to(dtype)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """Of `[..., inputs]` make `[..., outputs]`, in `dtype`."""
        activation, approximation = ("gelu", "none") if self.gelu else ("none", "")
        y: Tensor = torch.ops.mkldnn._linear_pointwise(
            x.to(self.dtype), self.packed, self.added, activation, [], approximation
        )
        return y


def applies(model: PreTrainedModel, probe: Probe) -> bool:
    """On an x86 CPU with oneDNN, which must support the arithmetic: elsewhere nobody has measured it."""
    return model.device.type == "cpu" and _supported(probe.dtype)


def apply(model: PreTrainedModel, probe: Probe, undo: ExitStack) -> None:
    """Pack every linear layer, in float32; a GELU that follows one becomes a part of it."""
    followed = _followed_by_gelu(model, probe)
    replacements: dict[str, nn.Module] = {
        name: PackedLinear(linear.weight, linear.bias, torch.float32, gelu=name in followed)
        for name, linear in model.named_modules()
        if type(linear) is nn.Linear
    }
    replacements.update((name, nn.Identity().eval()) for name in followed.values())
    for name, module in replacements.items():
        undo.callback(model.set_submodule, name, model.get_submodule(name))
        model.set_submodule(name, module)


def prove(model: PreTrainedModel, probe: Probe) -> bool:
    """A wrong fusion says something else."""
    return probe.agrees(model)


def _supported(dtype: torch.dtype) -> bool:
    if platform.machine() not in ("x86_64", "AMD64") or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return False
    return dtype == torch.float32 or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _followed_by_gelu(model: PreTrainedModel, probe: Probe) -> dict[str, str]:
    """Each linear layer whose output goes straight into a GELU, and that GELU; both run once in a forward pass."""
    outputs: list[tuple[str, Tensor]] = []
    inputs: list[tuple[str, Tensor]] = []

    def record(name: str, module: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> None:
        if type(module) is nn.Linear:
            outputs.append((name, output))
        else:
            inputs.append((name, arguments[0]))

    hooks = [
        module.register_forward_hook(partial(record, name))
        for name, module in model.named_modules()
        if type(module) is nn.Linear or (isinstance(module, GELUActivation) and module.act is nn.functional.gelu)
    ]
    model(**probe.padded)
    for hook in hooks:
        hook.remove()
    linears, activations = ([name for name, _ in calls] for calls in (outputs, inputs))
    return {
        linear: activation
        for activation, read in inputs
        for linear, output in outputs
        if read is output and linears.count(linear) == activations.count(activation) == 1
    }
