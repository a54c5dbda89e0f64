"""Fast matrix products on a CPU: weights packed once, with bias and GELU fused."""

import platform
from functools import partial

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.activations import GELUActivation

from muki_pipeline.labelling.network.encoder import layer_stack

# By rounding alone logits move less, by a wrong fusion far more.
_ROUNDING = 1e-4


class _PackedLinear(nn.Module):
    """Takes the place of an `nn.Linear`; keeps its `weight` and `bias`, whose types some architectures look at.

    Calls oneDNN's fused product by the name that torch.compile calls it by: the other way to it needs a C++ compiler.
    """

    def __init__(self, linear: nn.Linear, dtype: torch.dtype, gelu: bool) -> None:
        super().__init__()
        self.weight, self.bias, self.dtype, self.gelu = linear.weight, linear.bias, dtype, gelu
        self.packed = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach().to(dtype))
        self.added = None if linear.bias is None else linear.bias.detach().to(dtype)

    def forward(self, x: Tensor) -> Tensor:
        activation, approximation = ("gelu", "none") if self.gelu else ("none", "")
        y: Tensor = torch.ops.mkldnn._linear_pointwise(
            x.to(self.dtype), self.packed, self.added, activation, [], approximation
        )
        return y


@torch.inference_mode()
def pack_products(model: PreTrainedModel, token_ids: list[int], dtype: torch.dtype) -> bool:
    """Replace a classifier's linear layers by packed ones, and a GELU that follows one by a part of it.

    The network computes the same numbers except for rounding, which a probe checks. Only x86 CPUs gain from it.

    Args:
        model: A classifier in `eval()`.
        token_ids: A tokenised text, for the probes.
        dtype: What the products are computed in: float32, or bfloat16 as under autocast.

    Returns:
        Whether the layers are packed.
    """
    if model.device.type != "cpu" or not _supported(dtype):
        return False
    ids = torch.tensor([token_ids])
    followed = _followed_by_gelu(model, ids)
    linears = {name: module for name, module in model.named_modules() if type(module) is nn.Linear}
    activations = {name: model.get_submodule(name) for name in followed.values()}
    whole = model(ids).logits
    for name, linear in linears.items():
        model.set_submodule(name, _PackedLinear(linear, torch.float32, gelu=name in followed))
    for name in activations:
        model.set_submodule(name, nn.Identity())
    if (model(ids).logits - whole).abs().max() > _ROUNDING * whole.abs().max().clamp(min=1.0):
        for name, module in {**linears, **activations}.items():
            model.set_submodule(name, module)
        return False
    if dtype != torch.float32:
        stack = layer_stack(model)
        for name, linear in linears.items():
            # The head is small, and its output is what is measured: it stays in float32.
            if stack is not None and name.startswith(f"{stack[0]}."):
                model.set_submodule(name, _PackedLinear(linear, dtype, gelu=name in followed))
    return True


def _supported(dtype: torch.dtype) -> bool:
    # A build of torch without oneDNN lacks the product; elsewhere than on x86 nobody has measured it.
    if platform.machine() not in ("x86_64", "AMD64") or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return False
    return dtype == torch.float32 or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _followed_by_gelu(model: PreTrainedModel, ids: Tensor) -> dict[str, str]:
    """Each linear layer whose output goes straight into a GELU, and that GELU; both run once in a forward pass."""
    outputs: list[tuple[str, Tensor]] = []
    inputs: list[tuple[str, Tensor]] = []

    def heard(name: str, module: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> None:
        if type(module) is nn.Linear:
            outputs.append((name, output))
        else:
            inputs.append((name, arguments[0]))

    hooks = [
        module.register_forward_hook(partial(heard, name))
        for name, module in model.named_modules()
        if type(module) is nn.Linear or (isinstance(module, GELUActivation) and module.act is nn.functional.gelu)
    ]
    model(ids)
    for hook in hooks:
        hook.remove()
    linears, activations = ([name for name, _ in calls] for calls in (outputs, inputs))
    return {
        linear: activation
        for activation, read in inputs
        for linear, output in outputs
        if read is output and linears.count(linear) == activations.count(activation) == 1
    }
