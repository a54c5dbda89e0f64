"""Texts become batches: tokenised, in an order that can be repeated, padded."""

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Sampler
from transformers import PreTrainedTokenizerBase

from muki_pipeline.models.batching import beginnings, read


def tokenised(columns: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase, max_length: int) -> Dataset:
    """Some columns, `text` turned into the model's inputs and `length`."""
    others = {name: values for name, values in columns.items() if name != "text"}
    return Dataset.from_dict(others | encoded(tokenizer, columns["text"], max_length)).with_format("numpy")


def encoded(tokenizer: PreTrainedTokenizerBase, texts: list[str], max_length: int) -> dict[str, list[Any]]:
    """The model's inputs for some texts, without padding, and `length`, the tokens of each."""
    inputs = read(tokenizer, beginnings(tokenizer, texts, max_length), max_length)
    return {**inputs, "length": [len(ids) for ids in inputs["input_ids"]]}


class EpochSampler(Sampler[int]):
    """Batches of like lengths in an order that is a function of seed and epoch, so that a resumed epoch repeats it.

    As transformers' LengthGroupedSampler: 50 batches at a time are drawn and sorted, and the longest text of all comes
    first. Its order is the same; arrays take a tenth of the memory of its lists of lists.
    """

    def __init__(self, batch_size: int, lengths: NDArray[np.integer], seed: int) -> None:
        self.batch_size, self.lengths, self.seed = batch_size, lengths, seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Number of texts."""
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        """The texts of the epoch, by number."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(len(self.lengths), generator=generator).numpy()
        size = min(len(order) // (self.batch_size * 4), 50) or 1
        parts = [order[at : at + size * self.batch_size] for at in range(0, len(order), size * self.batch_size)]
        parts = [part[np.argsort(-self.lengths[part], kind="stable")] for part in parts]
        longest = max(range(len(parts)), key=lambda number: self.lengths[parts[number][0]])
        parts[0][0], parts[longest][0] = parts[longest][0], parts[0][0]
        return map(int, chain.from_iterable(parts))


class Collator:
    """Pads tokenised rows on the right, as prediction does, and turns the other columns into tensors.

    transformers' own collator pads on the tokenizer's side, hands `length` on to the model, and makes every number of a
    target a Python object.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Tensor]:
        """Rows of a dataset -> a batch."""
        names = [name for name in self.tokenizer.model_input_names if name in rows[0]]
        inputs = [{name: row[name].tolist() for name in names} for row in rows]
        batch = self.tokenizer.pad(inputs, padding_side="right", return_tensors="pt")
        others = rows[0].keys() - {*names, "length"}
        return {**batch, **{name: torch.as_tensor(np.array([row[name] for row in rows])) for name in others}}
