"""Two short texts, and what a tiny network with some transforms says of them."""

import torch
from transformers import PreTrainedModel

from muki_pipeline.labelling.network.dropout import KeyedDropout, functional_dropout
from muki_pipeline.labelling.network.masks import Masks
from muki_pipeline.labelling.network.network import Transform, transform

IDS = [1, 5, 6, 7, 8, 9, 2]
INPUTS = {
    "input_ids": torch.tensor([[1, 5, 6, 7, 8, 9, 2], [1, 10, 2, 0, 0, 0, 0]]),
    "attention_mask": torch.tensor([[1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0, 0]]),
}


@torch.inference_mode()
def passes(
    model: PreTrainedModel, *steps: Transform, dtype: torch.dtype = torch.float32, masks: Masks | None = None
) -> torch.Tensor:
    """Logits without dropout and of two passes, `[3, texts, labels]`, after these transforms and keyed dropout."""
    masks = masks or Masks(0, "t")
    assert len(transform(model, IDS, [*steps, KeyedDropout(masks, dtype)])) == len(steps) + 1
    logits = []
    for number in (None, 0, 1):
        masks.begin(number, len(INPUTS["input_ids"]))
        with functional_dropout(masks):
            logits.append(model(**INPUTS).logits)
    return torch.stack(logits)


@torch.inference_mode()
def plain(model: PreTrainedModel) -> torch.Tensor:
    """Logits as transformers gives them, `[texts, labels]`."""
    logits: torch.Tensor = model(**INPUTS).logits
    return logits
