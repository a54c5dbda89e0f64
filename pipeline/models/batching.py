"""Tokenise, sort by length, batch by token budget, restore order."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Tokenised:
    """Texts as one teacher's tokenizer sees them.

    Attributes:
        features: By name (`input_ids`, `attention_mask`, ...), what the tokenizer makes of each text.
        lengths: `[texts]` int32, tokens after truncation, special ones included.
        truncated: `[texts]` bool, whether tokens were cut off.
    """

    features: dict[str, list[list[int]]]
    lengths: NDArray[np.int32]
    truncated: NDArray[np.bool_]


@dataclass(frozen=True)
class Batch:
    """Some rows of a shard, padded to their longest.

    Attributes:
        rows: `[batch]`, which rows of the shard these are.
        inputs: The model's arguments, each `[batch, longest]`.
        tokens: Number of tokens, padding not counted.
    """

    rows: Tensor
    inputs: dict[str, Tensor]
    tokens: int


def tokenise(tokenizer: PreTrainedTokenizerBase, texts: list[str], max_length: int) -> Tokenised:
    """Tokenise texts without padding, cutting those longer than `max_length` tokens as the tokenizer does."""
    features = {name: list(column) for name, column in tokenizer(texts, truncation=False, verbose=False).items()}
    lengths = np.array([len(ids) for ids in features["input_ids"]], dtype=np.int32)
    truncated = lengths > max_length
    long = np.flatnonzero(truncated)
    if len(long):
        cut = tokenizer([texts[row] for row in long], truncation=True, max_length=max_length)
        for name, column in cut.items():
            for row, feature in zip(long, column, strict=True):
                features[name][row] = feature
        lengths[long] = [len(ids) for ids in cut["input_ids"]]
    return Tokenised(features, lengths, truncated)


def by_token_budget(lengths: NDArray[np.int32], budget: int) -> list[NDArray[np.intp]]:
    """Rows in batches of similar length, the longest first, each of at most `budget` tokens with its padding.

    A text longer than the budget makes a batch of its own. Every row is in exactly one batch.
    """
    order = np.argsort(-lengths, kind="stable")
    starts = [0]
    while starts[-1] < len(order):
        longest = max(int(lengths[order[starts[-1]]]), 1)
        starts.append(min(starts[-1] + max(budget // longest, 1), len(order)))
    return [order[start:end] for start, end in pairwise(starts)]


def collate(
    tokenizer: PreTrainedTokenizerBase, tokenised: Tokenised, rows: NDArray[np.intp], device: torch.device
) -> Batch:
    """The model's inputs for `rows`, padded on the right: positions start at 0 whatever the batch."""
    longest = int(tokenised.lengths[rows].max())
    padding = {"input_ids": tokenizer.pad_token_id or 0, "token_type_ids": tokenizer.pad_token_type_id}
    inputs = {}
    for name, column in tokenised.features.items():
        padded = np.full((len(rows), longest), padding.get(name, 0), dtype=np.int64)
        for line, row in zip(padded, rows, strict=True):
            line[: len(column[row])] = column[row]
        inputs[name] = _to_device(torch.from_numpy(padded), device)
    return Batch(_to_device(torch.from_numpy(rows), device), inputs, int(tokenised.lengths[rows].sum()))


def _to_device(tensor: Tensor, device: torch.device) -> Tensor:
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor
