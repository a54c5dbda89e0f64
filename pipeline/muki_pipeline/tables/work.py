"""Finished shards, stored by key: found again after a kill, a restart or a longer corpus.

They lie in the work folder, or in a bucket, where several machines share them.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from muki_pipeline.errors import MukiError
from muki_pipeline.tables import files
from muki_pipeline.tables.bucket import Bucket
from muki_pipeline.tables.shards import Shard, is_intact, read_shard, write_shard


@dataclass(frozen=True)
class StoredShard:
    """A finished shard.

    Attributes:
        folder: The folder of all finished shards of its kind.
        shard: Its file there or in a bucket, with size, digest and key.
    """

    folder: Path
    shard: Shard

    @property
    def path(self) -> Path:
        """The Parquet file, where it lies in the work folder."""
        return self.folder / self.shard.file

    def read(self, columns: list[str], remedy: str) -> pa.Table:
        """Some of its columns, verified."""
        return read_shard(self.folder, self.shard, remedy, columns)


def find_stored(folder: Path, key: str, store: str | None = None) -> StoredShard | None:
    """The shard with this key, or None where it is missing or incomplete.

    Args:
        folder: The folder of all finished shards of its kind.
        key: What the content is a function of.
        store: The bucket that holds them, None for the folder itself.
    """
    return _find_in_folder(folder, key) if store is None else _find_in_bucket(folder, key, Bucket(store))


def _find_in_folder(folder: Path, key: str) -> StoredShard | None:
    path = folder / f"{key}.parquet"
    try:
        shard = Shard(**files.read_json(path.with_suffix(".json"), ""))
        intact = shard.file == path.name and is_intact(folder, shard)
    except (MukiError, TypeError, OSError):  # killed between the two files, or damaged: it will be made again
        return None
    return StoredShard(folder, shard) if intact and shard.key == key else None


def _find_in_bucket(folder: Path, key: str, bucket: Bucket) -> StoredShard | None:
    """The bucket checked the content when it was written, and every reader does; here its size is enough."""
    name = _marker(folder, key)
    try:
        shard = Shard(**json.loads(bucket.read(name)), store=bucket.url)
    except FileNotFoundError:
        return None
    except (TypeError, ValueError):
        shard = None
    if shard is None or shard.key != key or bucket.size(shard.file) != shard.bytes:
        fix = "Delete this object, then run the command again"
        raise MukiError("names data that is not there", where=bucket.where(name), fix=fix)
    return StoredShard(folder, shard)


def store_shard(
    folder: Path, key: str, table: pa.Table, metadata: Mapping[str, Any], store: str | None = None
) -> StoredShard:
    """Store a finished shard under its key; what makes it count is written last.

    In a bucket somebody else may have finished the same shard meanwhile: theirs is then taken.

    Args:
        folder: The folder of all finished shards of its kind.
        key: What the content is a function of.
        table: Its rows.
        metadata: For the footer.
        store: The bucket to store it in, None for the folder itself.
    """
    path = folder / f"{key}.parquet"
    shard = write_shard(path, table, key, metadata, store)
    if store is None:
        files.write_json(path.with_suffix(".json"), shard.entry())
        return StoredShard(folder, shard)
    entry = {name: value for name, value in shard.entry().items() if name != "store"}
    if Bucket(store).create(_marker(folder, key), entry):
        return StoredShard(folder, shard)
    theirs = find_stored(folder, key, store)
    if theirs is None:
        where = Bucket(store).where(_marker(folder, key))
        raise MukiError("was removed while it was used", where=where, fix="Run the command again")
    return theirs


def _marker(folder: Path, key: str) -> str:
    """Name of the object that makes a shard count."""
    return f"{folder.name}/{key}.json"
