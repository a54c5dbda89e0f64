"""The network that labels: a classifier, the transforms that it goes through in order, and one forward pass."""

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Protocol

import torch
from torch import Tensor
from transformers import PreTrainedModel

from muki_pipeline.labelling.network import attention, bfloat16, dropout, packed, pooled
from muki_pipeline.labelling.network.masks import Masks
from muki_pipeline.labelling.network.probe import Probe

_LOG = logging.getLogger(__name__)


class Transform(Protocol):
    """A change to a classifier in `eval()`: a module with these three functions."""

    __name__: str

    def applies(self, model: PreTrainedModel, probe: Probe) -> bool:
        """Whether this model, on this device, has what the transform changes."""

    def apply(self, model: PreTrainedModel, probe: Probe, undo: ExitStack) -> None:
        """Change the model; `undo` collects what takes the change back."""

    def prove(self, model: PreTrainedModel, probe: Probe) -> bool:
        """Whether the changed model computes what it should; else the change is taken back."""


TRANSFORMS: tuple[Transform, ...] = (pooled, packed, bfloat16, dropout, attention)
"""In order: a later one sees the model that the earlier ones left."""


@torch.inference_mode()
def transform(model: PreTrainedModel, probe: Probe, transforms: Sequence[Transform] = TRANSFORMS) -> list[Transform]:
    """Change a classifier.

    Returns:
        The transforms that apply to it and are proven.
    """
    applied = []
    for each in transforms:
        if each.applies(model, probe):
            with ExitStack() as undo:
                each.apply(model, probe, undo)
                if each.prove(model, probe):
                    undo.pop_all()
                    applied.append(each)
                else:
                    _LOG.info("%s is withdrawn: the network computes something else with it", each.__name__)
    return applied


class Network:
    """A classifier with keyed dropout, as fast as its architecture and the device allow.

    Args:
        model: The classifier, in `eval()`; it is changed, and from then on run through `forward` alone.
        dtype: Arithmetic of its passes.
        masks: Where it drops elements, and which; unused so far.
        token_ids: A tokenised text of two ids or more, for the probes.

    Attributes:
        model: The changed classifier.
        masks: Where it drops elements, and the masks of the current pass.
        applied: The transforms that stayed.

    Raises:
        NoDropoutError: No dropout is active.
        MukiError: A place with dropout cannot have keyed masks.
    """

    @torch.inference_mode()
    def __init__(self, model: PreTrainedModel, dtype: torch.dtype, masks: Masks, token_ids: list[int]) -> None:
        self.model, self.masks = model, masks
        self.applied = transform(model, Probe(model, dtype, masks, token_ids))
        # A CPU multiplies packed layers in bfloat16, and all else as autocast says.
        self._autocasts = dtype == torch.bfloat16 and not (model.device.type != "cpu" and bfloat16 in self.applied)

    @torch.inference_mode()
    def forward(self, inputs: dict[str, Tensor], pass_number: int | None) -> Tensor:
        """Float32 logits `[batch, labels]`.

        Args:
            inputs: The model's arguments, each `[batch, tokens]`.
            pass_number: The Monte-Carlo pass, None for the network without dropout.
        """
        self.masks.begin(pass_number, len(inputs["input_ids"]))
        device = self.model.device.type
        with torch.autocast(device, torch.bfloat16, enabled=self._autocasts), dropout.functional_dropout(self.masks):
            logits: Tensor = self.model(**inputs).logits
            return logits.float()
