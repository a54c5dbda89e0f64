"""Finished shards in the work folder, stored by key: found again after a kill, a restart or a longer corpus."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.errors import MukiError
from pipeline.tables import files
from pipeline.tables.keys import file_digest
from pipeline.tables.shards import Shard, read_shard, write_shard


@dataclass(frozen=True)
class StoredShard:
    """A finished shard in the work folder.

    Attributes:
        folder: The folder of all finished shards of its kind.
        shard: Its file there, with size, digest and key.
    """

    folder: Path
    shard: Shard

    @property
    def path(self) -> Path:
        """The Parquet file."""
        return self.folder / self.shard.file

    def read(self, columns: list[str], remedy: str) -> pa.Table:
        """Some of its columns, verified."""
        return read_shard(self.folder, self.shard, remedy, columns)


def find_stored(folder: Path, key: str) -> StoredShard | None:
    """The shard with this key, or None where it is missing or incomplete."""
    path = folder / f"{key}.parquet"
    try:
        shard = Shard(**files.read_json(path.with_suffix(".json"), ""))
        intact = file_digest(path) == shard.sha256
    except (MukiError, TypeError, OSError):  # killed between the two files, or damaged: it will be made again
        return None
    return StoredShard(folder, shard) if intact and shard.key == key else None


def store_shard(folder: Path, key: str, table: pa.Table, metadata: Mapping[str, Any]) -> StoredShard:
    """Store a finished shard under its key; the file that makes it count is written last."""
    path = folder / f"{key}.parquet"
    shard = write_shard(path, table, key, metadata)
    files.write_json(path.with_suffix(".json"), asdict(shard))
    return StoredShard(folder, shard)
