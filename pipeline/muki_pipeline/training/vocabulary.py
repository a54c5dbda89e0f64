"""The rows of the embedding table that a training can change, and no others, while it lasts.

Most of a small encoder's weights are the embeddings of its 30,000 to 250,000 tokens, and the optimizer goes over all of
them in each step. A corpus has a few thousand tokens. Rows of tokens that never occur have no gradient: without them a
step takes less time and memory and, but for the weight decay of those rows, does the same.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeGuard

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import embedding
from transformers import PreTrainedModel, PreTrainedTokenizerBase


class _OccurringTokens(nn.Embedding):
    """Some rows of an embedding table. It is given the same token numbers as the whole table.

    Args:
        whole: The table.
        tokens: The numbers of the tokens that it has rows for.
    """

    row_of: Tensor

    def __init__(self, whole: nn.Embedding, tokens: NDArray[np.int64]) -> None:
        device = whole.weight.device
        chosen = torch.from_numpy(tokens).to(device)
        super().__init__(len(tokens), whole.embedding_dim, _weight=whole.weight.detach()[chosen], device=device)
        self.weight.requires_grad_(whole.weight.requires_grad)
        # A token without a row is an error in the look-up, not another token's row.
        row_of = torch.full((whole.num_embeddings,), -1, device=device)
        row_of[chosen] = torch.arange(len(tokens), device=device)
        self.register_buffer("row_of", row_of, persistent=False)
        self.padding_idx = None if whole.padding_idx is None else int(row_of[whole.padding_idx])

    def forward(self, input: Tensor) -> Tensor:
        return embedding(self.row_of[input], self.weight, self.padding_idx)


@contextmanager
def occurring_tokens(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, data: Iterable[Dataset]
) -> Iterator[None]:
    """Inside, `model` has embeddings for the tokens of some texts alone; afterwards it has all of them again.

    Embeddings of other tokens stay as they were. Left alone are models whose table is used in several places (an
    encoder and a decoder, an output layer), or is not a plain one.

    Args:
        model: It is changed in place.
        tokenizer: Its special tokens are kept in any case.
        data: Every text that the model will read inside, with `input_ids`.
    """
    whole = model.get_input_embeddings()
    if not _is_plain(whole) or _uses(model, whole) > 1:
        yield
        return
    kept = np.zeros(whole.num_embeddings, np.bool_)
    always = [*tokenizer.all_special_ids, *([] if whole.padding_idx is None else [whole.padding_idx])]
    kept[[number for number in always if number < len(kept)]] = True
    for texts in data:
        for chunk in texts.data.column("input_ids").chunks:
            kept[chunk.flatten().to_numpy()] = True
    tokens = np.flatnonzero(kept)
    occurring = _OccurringTokens(whole, tokens)
    model.set_input_embeddings(occurring)
    try:
        yield
    finally:
        with torch.no_grad():
            whole.weight[torch.from_numpy(tokens)] = occurring.weight.to(whole.weight.device)
        model.set_input_embeddings(whole.to(occurring.weight.device))


def _is_plain(table: nn.Module) -> TypeGuard[nn.Embedding]:
    """Whether looking up a row is all that it does."""
    return type(table) is nn.Embedding and table.max_norm is None and not table.scale_grad_by_freq and not table.sparse


def _uses(model: PreTrainedModel, table: nn.Embedding) -> int:
    return sum(parameter is table.weight for _, parameter in model.named_parameters(remove_duplicate=False))
