"""Two short texts, and what a tiny network with some transforms says of them."""

import pytest
import torch
from transformers import PreTrainedModel

from muki_pipeline.labelling.network import dropout, packed
from muki_pipeline.labelling.network.masks import Masks
from muki_pipeline.labelling.network.network import Network, Transform, transform
from muki_pipeline.labelling.network.probe import Probe

IDS = [1, 5, 6, 7, 8, 9, 2]
INPUTS = {
    "input_ids": torch.tensor([[1, 5, 6, 7, 8, 9, 2], [1, 10, 2, 0, 0, 0, 0]]),
    "attention_mask": torch.tensor([[1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0, 0]]),
}

bfloat16_cpu = pytest.mark.skipif(
    not packed._supported(torch.bfloat16), reason="this CPU packs no products in bfloat16 (it lacks AVX-512)"
)


def network(model: PreTrainedModel, dtype: torch.dtype = torch.float32, teacher: str = "t") -> Network:
    return Network(model, dtype, Masks(0, teacher), IDS)


@torch.inference_mode()
def stay(model: PreTrainedModel, *transforms: Transform, dtype: torch.dtype = torch.float32) -> bool:
    """Whether all these transforms apply to a model and are proven; it is then changed."""
    return transform(model, Probe(model, dtype, Masks(0, "t"), IDS), transforms) == list(transforms)


@torch.inference_mode()
def passes(model: PreTrainedModel, *transforms: Transform, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Logits without dropout and of two passes, `[3, texts, labels]`, after these transforms and keyed dropout."""
    masks, steps = Masks(0, "t"), [*transforms, dropout]
    assert transform(model, Probe(model, dtype, masks, IDS), steps) == steps
    logits = []
    for number in (None, 0, 1):
        masks.begin(number, len(INPUTS["input_ids"]))
        with dropout.functional_dropout(masks):
            logits.append(model(**INPUTS).logits)
    return torch.stack(logits)


@torch.inference_mode()
def plain(model: PreTrainedModel) -> torch.Tensor:
    """Logits as transformers gives them, `[texts, labels]`."""
    logits: torch.Tensor = model(**INPUTS).logits
    return logits
