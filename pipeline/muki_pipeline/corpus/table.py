"""The corpus: shards of texts with stable ids.

A text's id is a hash of the text and of how many identical texts come before it. It stays the same when the corpus is
split into other shards or appended to.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from muki_pipeline.corpus.ids import Ids
from muki_pipeline.errors import MukiError, shortlist
from muki_pipeline.layout import MAKE_CORPUS
from muki_pipeline.store import schema
from muki_pipeline.store.columns import arrow, series
from muki_pipeline.store.folder import FolderStore
from muki_pipeline.store.keys import canonical_key
from muki_pipeline.store.store import Shard, Store
from muki_pipeline.store.table import Table, part_name, seal, unseal


def with_ids(frame: pl.DataFrame) -> pl.DataFrame:
    """`frame` with a first column `id`; see `text_id`."""
    return Ids().add(frame)


def content_digest(table: pa.Table) -> str:
    """SHA-256 of a corpus shard's ids and texts. Label shards are bound to it, however Parquet stores them."""
    digest = hashlib.sha256()
    for name in schema.names(schema.CORPUS):
        for value in table[name].to_pylist():
            encoded = value.encode()
            digest.update(len(encoded).to_bytes(8, "little"))
            digest.update(encoded)
    return digest.hexdigest()


def write_corpus(folder: Path, frame: pl.DataFrame, shard_rows: int) -> list[Shard]:
    """Write `id` and `text` as shards of `shard_rows`: appended texts change the last shard and add new ones."""
    return write_corpus_parts(FolderStore(folder), [[frame]], shard_rows)


def write_corpus_parts(store: Store, sources: Iterable[Iterable[pl.DataFrame]], shard_rows: int) -> list[Shard]:
    """The same of a corpus that comes in parts, and wherever it lies: at most a part and two shards are in memory.

    A source begins a shard, so that texts appended to another one do not change it. Shards that are there already
    stay: in a bucket a new one would lie beside the old one for ever.

    Args:
        store: The corpus's.
        sources: For each source its parts, `id`, `text`.
        shard_rows: Texts in a shard.
    """
    present = {shard.key: shard for shard in _present(store)}
    unseal(store.folder)
    shards = []
    for number, part in enumerate(part for parts in sources for part in _in_shards(parts, shard_rows)):
        columns = arrow(part)
        table = schema.arrow_table(schema.CORPUS, {name: columns[name] for name in columns.column_names})
        key = content_digest(table)
        found = present.get(key)
        if found is not None and not store.url and found.file != part_name(number):
            found = None  # in a folder, its place is its name
        is_there = found is not None and _is_of(found, table)
        shards.append(found if found is not None and is_there else store.write(part_name(number), table, key))
    seal(store.folder, shards)
    return shards


def _present(store: Store) -> list[Shard]:
    """The shards of the table that is there, if it lies in this store."""
    try:
        shards = Table.open(store.folder, MAKE_CORPUS).shards
    except MukiError:
        return []
    return shards if all(shard.store == store for shard in shards) else []


def _is_of(shard: Shard, table: pa.Table) -> bool:
    """Whether a shard holds a table, as its manifest says."""
    try:
        return bool(shard.read().equals(table))
    except MukiError:  # changed or gone
        return False


def _in_shards(parts: Iterable[pl.DataFrame], shard_rows: int) -> Iterator[pl.DataFrame]:
    """Frames of `shard_rows`, the last one shorter, whatever the parts' lengths."""
    rest = pl.DataFrame(schema={"id": pl.String, "text": pl.String})
    for part in parts:
        rest = pl.concat([rest, part.select("id", "text")])
        whole = len(rest) // shard_rows * shard_rows
        yield from rest[:whole].iter_slices(shard_rows)
        rest = rest[whole:]
    if len(rest):
        yield rest


def read_corpus_shard(shard: Shard, columns: Sequence[str] = ("id", "text")) -> pa.Table:
    """One corpus shard: `id`, `text`, or only one of them.

    Raises:
        MukiError: Its bytes differ from the manifest; an id or text is null.
    """
    table = shard.read(list(columns))
    for name in columns:
        if nulls := table[name].null_count:
            raise MukiError(f"{nulls} null values in column {name}", where=shard.where, fix=MAKE_CORPUS)
    return table


def corpus_shards(folder: Path) -> list[Shard]:
    """The corpus's shards.

    Raises:
        MukiError: There is no corpus, or it is empty or damaged, or an id occurs twice.
    """
    table = Table.open(folder, MAKE_CORPUS)
    if not table.rows:
        raise MukiError("the corpus is empty", where=str(folder), fix="Name a source with rows and prepare it")
    # 8 bytes a row instead of the ids themselves, so that a corpus of any size fits into memory.
    hashes = np.empty(table.rows, dtype=np.uint64)
    end = 0
    for shard in table.shards:
        hashes[end : end + shard.rows] = _ids(shard).hash().to_numpy()
        end += shard.rows
    hashes.sort()
    if (hashes[1:] == hashes[:-1]).any():
        ids = pl.concat([_ids(shard) for shard in table.shards])
        if repeated := ids.filter(ids.is_duplicated()).unique(maintain_order=True).to_list():
            what = f"{len(repeated)} ids occur more than once: {shortlist(repeated)}"
            raise MukiError(what, where=str(folder), fix=MAKE_CORPUS)
    return table.shards


def _ids(shard: Shard) -> pl.Series:
    return series(shard.read(["id"], verify=False)["id"])


def corpus_digest(shards: list[Shard]) -> str:
    """SHA-256 that stands for the whole corpus."""
    return canonical_key({"corpus": [shard.key for shard in shards]})
