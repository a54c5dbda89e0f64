"""A network in bfloat16: on a CPU its packed layers and embeddings, under autocast; on a GPU all but its head."""

import math
from contextlib import ExitStack

import torch
from torch import nn
from transformers import PreTrainedModel

from muki_pipeline.labelling.network.packed import PackedLinear
from muki_pipeline.labelling.network.pooled import layer_stack
from muki_pipeline.labelling.network.probe import Probe
from muki_pipeline.models.heads import find_head


def applies(model: PreTrainedModel, probe: Probe) -> bool:
    """On a CPU where layers are packed: others take float32 alone, and autocast converts what they read."""
    can = model.device.type != "cpu" or any(isinstance(module, PackedLinear) for module in model.modules())
    return probe.dtype == torch.bfloat16 and can


def apply(model: PreTrainedModel, probe: Probe, undo: ExitStack) -> None:
    """The head is small, and its output is what is measured: it stays in float32."""
    if model.device.type == "cpu":
        _convert_packed(model)
    else:
        hold(model, undo)


def prove(model: PreTrainedModel, probe: Probe) -> bool:
    """Its rounding was asked for; `labelling/trial.py` measures what it does to the labels.

    On a GPU it must run without autocast: some networks' own code takes float32 alone.
    """
    return model.device.type == "cpu" or probe.agrees(model, within=math.inf)


def _convert_packed(model: PreTrainedModel) -> None:
    """Embeddings, and so all that is added to them, layer by layer; and the encoder's packed layers."""
    stack = layer_stack(model)
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.Embedding):
            module.to(torch.bfloat16)
        elif isinstance(module, PackedLinear) and stack is not None and name.startswith(f"{stack[0]}."):
            model.set_submodule(name, PackedLinear(module.weight, module.bias, torch.bfloat16, module.gelu))


def hold(model: PreTrainedModel, undo: ExitStack) -> None:
    """All weights: autocast would keep half of the network in float32. The head converts what it reads."""
    for parameter in model.parameters():
        undo.callback(setattr, parameter, "data", parameter.data)
        parameter.data = parameter.data.to(torch.bfloat16)
    if isinstance(head := find_head(model), nn.Linear):
        head.float()
        undo.callback(head.register_forward_pre_hook(lambda module, inputs: (inputs[0].float(),)).remove)
