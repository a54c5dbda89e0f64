"""A golden table, tokenised once and read from the disk: memory stays flat however many rows it has."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from muki_pipeline.errors import MukiError
from muki_pipeline.layout import open_golden
from muki_pipeline.store import files
from muki_pipeline.store.columns import matrix
from muki_pipeline.training.batches import encoded

_PART_ROWS = 4096
"""Texts that are tokenised at a time."""


def golden_shards(folder: Path, columns: list[str]) -> Iterator[pa.Table]:
    """Those columns of every golden shard, verified and in parts; only the texts with a weight above 0.

    Args:
        folder: The golden table.
        columns: With `weight`.

    Raises:
        MukiError: There is none, or a file differs from the manifest.
    """
    for shard in open_golden(folder).shards:
        table = shard.read(columns)
        taught = table.filter(pc.greater(table["weight"], 0))
        for start in range(0, len(taught), _PART_ROWS):
            yield taught.slice(start, _PART_ROWS)


def write_tokens(
    folder: Path, supervision: list[str], tokenizer: PreTrainedTokenizerBase, max_length: int, path: Path
) -> None:
    """Write the golden table as the model's inputs, `length` and the supervision.

    Args:
        folder: The golden table.
        supervision: The columns that the loss reads, with `weight`.
        tokenizer: The student's.
        max_length: Longest text in tokens.
        path: Where the file is written; whatever is there is replaced.

    Raises:
        MukiError: See `golden_shards`; no text has a weight above 0.
    """
    parts = golden_shards(folder, ["text", *supervision])
    try:
        files.write_stream(path, (_rows(part, tokenizer, max_length) for part in parts))
    except StopIteration:
        raise MukiError("every text has weight 0", where=str(folder), fix="Lower integrate.unknown_share") from None


def read_tokens(path: Path) -> Dataset:
    """What `write_tokens` wrote, mapped into memory; its rows come as arrays."""
    return Dataset.from_file(str(path)).with_format("numpy")


def surest_texts(folder: Path, labels: list[str], count: int) -> dict[str, str]:
    """The texts that were taught most surely, each of another label, and that label.

    Args:
        folder: The golden table.
        labels: The union.
        count: How many.
    """
    best: dict[str, tuple[float, str]] = {}
    for part in golden_shards(folder, ["text", "target", "weight"]) if count else ():
        target = matrix(part["target"])
        for text, column, probability in zip(
            part["text"].to_pylist(), target.argmax(axis=1), target.max(axis=1), strict=True
        ):
            label = labels[column]
            best[label] = max(best.get(label, (0.0, "")), (float(probability), text))
    surest = sorted(((probability, text, label) for label, (probability, text) in best.items()), reverse=True)
    return {text: label for _, text, label in surest[:count]}


def _rows(part: pa.Table, tokenizer: PreTrainedTokenizerBase, max_length: int) -> pa.Table:
    inputs = encoded(tokenizer, part["text"].to_pylist(), max_length)
    columns = {
        name: pa.array(values, pa.int32() if name == "length" else pa.list_(pa.int32()))
        for name, values in inputs.items()
    }
    return pa.table({**{name: part[name] for name in part.column_names if name != "text"}, **columns})
