"""Tokenise, sort by length, batch by token budget, restore order."""

from dataclasses import dataclass
from itertools import count, pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from muki_pipeline.models.tokenizers import structural_places

_CHARACTERS_A_TOKEN = 16
"""More than texts have on average; where they have more, `beginnings` takes a longer beginning."""
_SPARE_TOKENS = 64
"""Tokens by which a beginning is longer than needed, because the cut may have gone through a word."""


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
    """Tokenise texts without padding, cutting those longer than `max_length` tokens as the tokenizer does.

    A text without any token gets one, so that every network can read it. Only the beginning of a very long text is
    tokenised: a text of megabytes costs what its first tokens cost.
    """
    texts = beginnings(tokenizer, texts, max_length)
    features = read(tokenizer, texts)
    lengths = np.array([len(ids) for ids in features["input_ids"]], dtype=np.int32)
    truncated = lengths > max_length
    long = np.flatnonzero(truncated)
    if len(long):
        cut = read(tokenizer, [texts[row] for row in long], max_length)
        for name, column in cut.items():
            for row, feature in zip(long, column, strict=True):
                features[name][row] = feature
        lengths[long] = [len(ids) for ids in cut["input_ids"]]
    return Tokenised(features, lengths, truncated)


def read(tokenizer: PreTrainedTokenizerBase, texts: list[str], max_length: int | None = None) -> dict[str, list[Any]]:
    """The model's inputs for some texts without padding, by name: for each text a list with a number for each token.

    Args:
        tokenizer: From `load_tokenizer`.
        texts: The texts. A text without any token (an empty one, where the tokenizer adds none) gets one.
        max_length: Tokens from which a text is cut, at the end that the tokenizer's `truncation_side` says.
    """
    is_cut = max_length is not None
    inputs = tokenizer(texts, truncation=is_cut, max_length=max_length, verbose=False)
    features = {name: list(column) for name, column in inputs.items()}
    _replace_structural(tokenizer, features["input_ids"])
    _fill_empty(tokenizer, features)
    return features


def _replace_structural(tokenizer: PreTrainedTokenizerBase, rows: list[list[int]]) -> None:
    """Make structural tokens inside a text unknown ones, in place.

    A tokenizer that splits them may still find one in its vocabulary: `</s>` is a piece of every Unigram model.
    """
    before, after, misplaced = structural_places(tokenizer)
    unknown = tokenizer.unk_token_id
    for row, ids in enumerate(rows):
        inner = slice(before, len(ids) - after)
        if not misplaced.isdisjoint(ids[inner]):
            stand_in = next(each for each in count() if each not in misplaced) if unknown is None else unknown
            words = [stand_in if token in misplaced else token for token in ids[inner]]
            rows[row] = [*ids[:before], *words, *ids[len(ids) - after :]]


def beginnings(tokenizer: PreTrainedTokenizerBase, texts: list[str], max_length: int) -> list[str]:
    """Each text, or a beginning of it that has more than `max_length` tokens and some to spare.

    A tokenizer that keeps the end of a text gets it whole: where a cut goes through a long number, say, all tokens
    after it may be others.
    """
    if tokenizer.truncation_side == "left":
        return texts
    result, size = list(texts), _CHARACTERS_A_TOKEN * max_length
    rows = [row for row, text in enumerate(texts) if len(text) > size]
    while rows:
        cut = [texts[row][:size] for row in rows]
        counts = [len(ids) for ids in tokenizer(cut, truncation=False, verbose=False)["input_ids"]]
        enough = [count > max_length + _SPARE_TOKENS for count in counts]
        for row, beginning, is_enough in zip(rows, cut, enough, strict=True):
            result[row] = beginning if is_enough else texts[row]
        size *= 4
        rows = [row for row, done in zip(rows, enough, strict=True) if not done and len(texts[row]) > size]
    return result


def _fill_empty(tokenizer: PreTrainedTokenizerBase, features: dict[str, list[list[int]]]) -> None:
    """Give each text without tokens (an empty one, where the tokenizer adds no special tokens) one token, in place."""
    known = (tokenizer.eos_token_id, tokenizer.bos_token_id, tokenizer.unk_token_id, tokenizer.pad_token_id, 0)
    token = next(each for each in known if each is not None)
    for row, ids in enumerate(features["input_ids"]):
        if not ids:
            for name, column in features.items():
                column[row] = [{"input_ids": token, "attention_mask": 1}.get(name, 0)]


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


def collate(tokenised: Tokenised, rows: NDArray[np.intp], pad_token_id: int, device: torch.device) -> Batch:
    """The model's inputs for `rows`, padded on the right: positions start at 0 whatever the batch.

    Args:
        tokenised: The texts.
        rows: Which of them.
        pad_token_id: The token that the model pads with (`align_padding` sees to it that there is one).
        device: Where the inputs are wanted.
    """
    longest = int(tokenised.lengths[rows].max())
    inputs = {}
    for name, column in tokenised.features.items():
        padded = np.full((len(rows), longest), pad_token_id if name == "input_ids" else 0, dtype=np.int64)
        for line, row in zip(padded, rows, strict=True):
            line[: len(column[row])] = column[row]
        inputs[name] = _to_device(torch.from_numpy(padded), device)
    return Batch(_to_device(torch.from_numpy(rows), device), inputs, int(tokenised.lengths[rows].sum()))


def _to_device(tensor: Tensor, device: torch.device) -> Tensor:
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor
