"""The corpus: shards of texts with stable ids.

A text's id is a hash of the text and its occurrence number (the how-manieth equal text it is): it stays when the corpus
is sharded anew or appended to.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from pipeline import store
from pipeline.errors import MukiError, first
from pipeline.layout import MAKE_CORPUS


def text_id(text: str, occurrence: int) -> str:
    """32 hex digits of a hash of a text and the number of equal texts before it."""
    return hashlib.blake2b(f"{occurrence}\0{text}".encode(), digest_size=16).hexdigest()


def with_ids(frame: pl.DataFrame) -> pl.DataFrame:
    """`frame` with a first column `id`; see `text_id`."""
    occurrences = frame.select(pl.int_range(pl.len()).over("text"))[:, 0]
    ids = [text_id(text, number) for text, number in zip(frame["text"], occurrences, strict=True)]
    return frame.select(pl.Series("id", ids, dtype=pl.String), pl.all())


def content_digest(table: pa.Table) -> str:
    """SHA-256 of a corpus shard's ids and texts: what label shards are bound to, however Parquet packs them."""
    digest = hashlib.sha256()
    for name in ("id", "text"):
        for value in table[name].to_pylist():
            encoded = value.encode()
            digest.update(len(encoded).to_bytes(8, "little"))
            digest.update(encoded)
    return digest.hexdigest()


def write_corpus(folder: Path, frame: pl.DataFrame, shard_rows: int) -> list[store.Shard]:
    """Write `id` and `text` as shards of `shard_rows`: appended texts change the last shard and add new ones."""
    store.unseal(folder)
    shards = []
    for number, part in enumerate(frame.select("id", "text").iter_slices(shard_rows)):
        table = part.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(
            pa.schema([("id", pa.string()), ("text", pa.string())])
        )
        shards.append(store.write_shard(folder / store.part_name(number), table, content_digest(table)))
    store.seal(folder, shards)
    return shards


def read_shard(folder: Path, shard: store.Shard, columns: Sequence[str] = ("id", "text")) -> pa.Table:
    """One corpus shard: `id`, `text`, or only one of them.

    Raises:
        MukiError: Its bytes are not those of the manifest; an id or text is null.
    """
    table = store.read_shard(folder, shard, MAKE_CORPUS, list(columns))
    where = str(folder / shard.file)
    for name in columns:
        if table[name].null_count:
            raise MukiError(f"{table[name].null_count} null values in column {name}", where=where, fix=MAKE_CORPUS)
    return table


def corpus_shards(folder: Path) -> list[store.Shard]:
    """The corpus's shards.

    Raises:
        MukiError: There is no corpus, or it is empty, or an id stands in two shards.
    """
    shards, _ = store.manifest(folder, MAKE_CORPUS)
    if not sum(shard.rows for shard in shards):
        raise MukiError("the corpus is empty", where=str(folder), fix="Name a source with rows and prepare it")
    paths = [folder / shard.file for shard in shards]
    if all(path.exists() for path in paths):  # a missing one is reported, by name, by whoever reads it
        # 8 bytes a row instead of the ids themselves: a corpus of any size passes.
        hashes = np.empty(sum(shard.rows for shard in shards), dtype=np.uint64)
        end = 0
        for path in paths:
            of_shard = pl.read_parquet(path, columns=["id"])["id"].hash().to_numpy()
            hashes[end : end + len(of_shard)] = of_shard
            end += len(of_shard)
        hashes.sort()
        if (hashes[1:] == hashes[:-1]).any():
            ids = pl.concat([pl.read_parquet(path, columns=["id"]) for path in paths])["id"]
            if twice := ids.filter(ids.is_duplicated()).unique(maintain_order=True).to_list():
                what = f"{len(twice)} ids occur more than once: {first(twice)}"
                raise MukiError(what, where=str(folder), fix=MAKE_CORPUS)
    return shards


def digest(shards: list[store.Shard]) -> str:
    """SHA-256 that stands for the whole corpus."""
    return store.canonical_key({"corpus": [shard.key for shard in shards]})
