"""A network in bfloat16: on a CPU its embeddings and packed layers, under autocast; on a GPU all but its head."""

import math
from contextlib import ExitStack

import torch
from torch import nn
from transformers import PreTrainedModel

from muki_pipeline.labelling.network.packed import PackedLinear
from muki_pipeline.labelling.network.pooled import layer_stack
from muki_pipeline.labelling.network.probe import Probe
from muki_pipeline.models.heads import find_head


class Bfloat16Layers:
    """Packed layers in bfloat16, and embeddings, so that all that is added to them is bfloat16. See `Transform`.

    Args:
        dtype: Arithmetic of the passes.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype

    def applies(self, model: PreTrainedModel) -> bool:
        """Where layers are packed: others take float32 alone."""
        return self.dtype == torch.bfloat16 and any(isinstance(module, PackedLinear) for module in model.modules())

    def apply(self, model: PreTrainedModel, probe: Probe, undo: ExitStack) -> None:
        """Pack the encoder's layers again. The head is small, and its output is what is measured: it stays float32."""
        stack = layer_stack(model)
        for name, module in list(model.named_modules()):
            if isinstance(module, nn.Embedding):
                module.to(torch.bfloat16)
            elif isinstance(module, PackedLinear) and stack is not None and name.startswith(f"{stack[0]}."):
                model.set_submodule(name, PackedLinear(module.weight, module.bias, torch.bfloat16, module.gelu))

    def prove(self, model: PreTrainedModel, probe: Probe) -> bool:
        """Its rounding was asked for; `labelling/arithmetic.py` measures what it does to the labels."""
        return True


class HeldInBfloat16:
    """All weights but the head's in bfloat16: autocast would keep half of the network in float32. See `Transform`.

    Args:
        dtype: Arithmetic of the passes.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype

    def applies(self, model: PreTrainedModel) -> bool:
        """On a GPU."""
        return self.dtype == torch.bfloat16 and model.device.type != "cpu"

    def apply(self, model: PreTrainedModel, probe: Probe, undo: ExitStack) -> None:
        """Convert the weights; the head converts what it reads."""
        for parameter in model.parameters():
            undo.callback(setattr, parameter, "data", parameter.data)
            parameter.data = parameter.data.to(torch.bfloat16)
        if isinstance(head := find_head(model), nn.Linear):
            head.float()
            undo.callback(head.register_forward_pre_hook(lambda module, inputs: (inputs[0].float(),)).remove)

    def prove(self, model: PreTrainedModel, probe: Probe) -> bool:
        """It must run: some networks' own code takes float32 alone. Its rounding was asked for."""
        return probe.agrees(model, within=math.inf)
