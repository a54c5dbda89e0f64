"""The network that labels: a classifier, the transforms that it goes through in order, and one forward pass."""

import logging
from contextlib import ExitStack
from typing import Protocol

import torch
from torch import Tensor
from transformers import PreTrainedModel

from muki_pipeline.labelling.network.attention import OneKernelAttention
from muki_pipeline.labelling.network.bfloat16 import Bfloat16Layers, HeldInBfloat16
from muki_pipeline.labelling.network.dropout import KeyedDropout, functional_dropout
from muki_pipeline.labelling.network.masks import Masks
from muki_pipeline.labelling.network.packed import PackedProducts
from muki_pipeline.labelling.network.pooled import PooledOnly
from muki_pipeline.labelling.network.probe import Probe

_LOG = logging.getLogger(__name__)


class Transform(Protocol):
    """A change to a classifier in `eval()`."""

    def applies(self, model: PreTrainedModel) -> bool:
        """Whether this model, on this device, has what the transform changes."""

    def apply(self, model: PreTrainedModel, probe: Probe, undo: ExitStack) -> None:
        """Change the model; `undo` collects what takes the change back."""

    def prove(self, model: PreTrainedModel, probe: Probe) -> bool:
        """Whether the changed model still computes what it should."""


def transforms(dtype: torch.dtype, masks: Masks) -> list[Transform]:
    """Every transform, in order: a later one sees the model that the earlier ones left."""
    return [
        PooledOnly(),
        PackedProducts(dtype),
        Bfloat16Layers(dtype),
        HeldInBfloat16(dtype),
        KeyedDropout(masks, dtype),
        OneKernelAttention(masks),
    ]


@torch.inference_mode()
def transform(model: PreTrainedModel, token_ids: list[int], steps: list[Transform]) -> list[Transform]:
    """Apply the transforms that fit a model, and withdraw those whose proof fails.

    Args:
        model: A classifier in `eval()`.
        token_ids: A tokenised text of two ids or more, for the probes.
        steps: The transforms.

    Returns:
        Those that stay.
    """
    probe, applied = Probe(model, token_ids), []
    for step in steps:
        if not step.applies(model):
            continue
        with ExitStack() as undo:
            step.apply(model, probe, undo)
            if step.prove(model, probe):
                undo.pop_all()
                applied.append(step)
            else:
                _LOG.info("%s is withdrawn: the network computes something else with it", type(step).__name__)
    return applied


class Network:
    """A classifier with keyed dropout, as fast as its architecture and the device allow.

    Args:
        model: The classifier, in `eval()`; it is changed, and from then on run through `forward` alone.
        dtype: Arithmetic of its passes.
        seed: Seed of every mask.
        teacher: Name of the teacher; another name draws other masks.
        token_ids: A tokenised text of two ids or more, for the probes.

    Attributes:
        model: The changed classifier.
        masks: Where it drops elements, and the masks of the current pass.
        applied: Names of the transforms that stayed.

    Raises:
        NoDropoutError: No dropout is active.
        MukiError: A place with dropout cannot have keyed masks.
    """

    def __init__(
        self, model: PreTrainedModel, *, dtype: torch.dtype, seed: int, teacher: str, token_ids: list[int]
    ) -> None:
        self.model, self.masks = model, Masks(seed, teacher)
        applied = transform(model, token_ids, transforms(dtype, self.masks))
        self.applied = [type(each).__name__ for each in applied]
        self._autocasts = dtype == torch.bfloat16 and HeldInBfloat16.__name__ not in self.applied

    @torch.inference_mode()
    def forward(self, inputs: dict[str, Tensor], pass_number: int | None) -> Tensor:
        """Float32 logits `[batch, labels]`.

        Args:
            inputs: The model's arguments, each `[batch, tokens]`.
            pass_number: The Monte-Carlo pass, None for the network without dropout.
        """
        self.masks.begin(pass_number, len(inputs["input_ids"]))
        device = self.model.device.type
        with torch.autocast(device, torch.bfloat16, enabled=self._autocasts), functional_dropout(self.masks):
            logits: Tensor = self.model(**inputs).logits
            return logits.float()
