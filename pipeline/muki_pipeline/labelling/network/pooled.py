"""The last layer computes the first position only, wherever the classifier reads no other.

After the last layer's attention, positions no longer mix, and a head that pools the first token (BERT, RoBERTa,
ELECTRA, DeBERTa and similar) ignores the others: the layer's output projection and feed-forward block are nine twelfths
of its work.
"""

from contextlib import ExitStack

from torch import nn
from transformers import PreTrainedModel

from muki_pipeline.labelling.network.probe import Probe


def layer_stack(model: PreTrainedModel) -> tuple[str, nn.ModuleList] | None:
    """The encoder's layers and the name they go by: its longest list of modules of one class, None without any."""
    stacks = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and len({type(layer) for layer in module}) == 1
    ]
    return max(stacks, key=lambda stack: len(stack[1]), default=None)


def applies(model: PreTrainedModel, probe: Probe) -> bool:
    """Where the last layer has an output block behind its attention."""
    return _output(model) is not None


def apply(model: PreTrainedModel, probe: Probe, undo: ExitStack) -> None:
    """Hand that block the first position alone."""
    output = _output(model)
    assert output is not None
    hook = output.register_forward_pre_hook(lambda module, inputs: tuple(tensor[:, :1] for tensor in inputs))
    undo.callback(hook.remove)


def prove(model: PreTrainedModel, probe: Probe) -> bool:
    """A head that reads more than the first position says something else, or fails."""
    return probe.agrees(model)


def _output(model: PreTrainedModel) -> nn.Module | None:
    stack = layer_stack(model)
    return dict(stack[1][-1].named_modules()).get("attention.output") if stack else None
