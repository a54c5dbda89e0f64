"""Whether a network reads texts in batches as it reads each of them alone."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from muki_pipeline.errors import MukiError, refusing
from muki_pipeline.models.batching import collate, tokenise

_TEXTS = ["", "a", "a longer probe, which tells whether a text depends on those beside it"]
_TOKENS = 32
_TOLERANCE = 1e-3
"""Float32 rounding differs with a batch's shape by far less."""


def check_reading(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    answer: Callable[[Mapping[str, Tensor]], Tensor],
    max_length: int,
    where: str,
    fix: str,
) -> None:
    """Let a network read short texts, an empty one among them, in a batch and alone.

    Args:
        model: In `eval()`.
        tokenizer: Its tokenizer, padding aligned with the model.
        answer: Of the model's inputs, each `[texts, tokens]`: a vector for each text.
        max_length: Tokens that the model reads at most, or is to read.
        where: Named in errors.
        fix: What to do about a network that fails.

    Raises:
        MukiError: It cannot read them, or a text's numbers depend on the texts beside it.
    """
    tokens = tokenise(tokenizer, _TEXTS, min(max_length, _TOKENS))
    rows = np.arange(len(_TEXTS))
    batches = [collate(tokens, each, model.config.pad_token_id, model.device).inputs for each in (rows, *rows[:, None])]
    with refusing("its network cannot read texts", where=where, fix=fix):
        together, *alone = (answer(inputs) for inputs in batches)
    difference = float((together - torch.cat(alone)).abs().max() / together.abs().max().clamp(min=1.0))
    if not difference <= _TOLERANCE:
        what = f"a text's numbers depend on those beside it in a batch (they differ by {difference:.2g})"
        raise MukiError(what, where=where, fix=fix)
