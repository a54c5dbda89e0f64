"""Shards in a folder of this file system."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from muki_pipeline.errors import MukiError
from muki_pipeline.store import files
from muki_pipeline.store.keys import file_digest
from muki_pipeline.store.store import Shard, Store


@dataclass(frozen=True)
class FolderStore(Store):
    """Files of a folder. Finished work is `KEY.parquet`; `KEY.json`, written last, makes it count."""

    folder: Path

    def find(self, key: str) -> Shard | None:
        """See `Store`; a damaged file is the same as none, and is replaced."""
        try:
            shard = Shard(**files.read_json(self.folder / f"{key}.json", ""), store=self)
            is_found = shard.file == f"{key}.parquet" and shard.key == key and self.is_intact(shard)
        except (MukiError, TypeError, OSError):  # killed between the two files, or damaged
            return None
        return shard if is_found else None

    def claim(self, shard: Shard) -> Shard:
        """See `Store`; the last one that is written counts."""
        files.write_json(self.folder / f"{shard.key}.json", shard.entry)
        return shard

    def put(self, file: str, content: pa.Buffer) -> str:
        """See `Store`."""
        files.write_bytes(self._path(file), content)
        return file

    def read(self, file: str) -> bytes:
        """See `Store`."""
        return self._path(file).read_bytes()

    def open(self, file: str) -> pa.NativeFile:
        """See `Store`."""
        return pa.memory_map(str(self._path(file)))

    def is_intact(self, shard: Shard) -> bool:
        """See `Store`."""
        path = self._path(shard.file)
        return path.exists() and file_digest(path) == shard.sha256

    def _path(self, file: str) -> Path:
        """A file's path. A name that leads out of the folder, in a manifest that somebody changed, is refused."""
        if Path(file).name != file:
            fix = "Remove manifest.json there, then run the command that makes this table"
            raise MukiError(f"lists {file!r}, which is not a file name", where=str(self.folder), fix=fix)
        return self.folder / file

    def publish(self, shard: Shard, folder: Path, file: str) -> Shard:
        """See `Store`; by hard link or copy."""
        files.link_or_copy(self._path(shard.file), folder / file)
        return replace(shard, file=file, store=FolderStore(folder))

    def record(self, manifest: Mapping[str, Any]) -> None:
        """See `Store`."""
