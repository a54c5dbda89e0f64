"""Tables: a folder's `part-00000.parquet` … under a `manifest.json`, which is written last; and those of a single file.

Readers go by the manifest, never by a directory listing, and refuse every file that differs from it.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from muki_pipeline.errors import MukiError
from muki_pipeline.store import files
from muki_pipeline.store.bucket import BucketStore
from muki_pipeline.store.columns import frame
from muki_pipeline.store.folder import FolderStore
from muki_pipeline.store.store import UNREADABLE, Shard, Store, metadata_of, parse

MANIFEST = "manifest.json"
_OWN_NAME = re.compile(r"part-\d{5,}\.parquet|\.(part-\d{5,}\.parquet|manifest\.json)\.tmp")


def open_store(folder: Path, bucket: str | None) -> Store:
    """The store of a table's shards, or of finished work: the folder itself, or the bucket of that address."""
    return BucketStore(folder, bucket) if bucket else FolderStore(folder)


def part_name(number: int) -> str:
    """File name of a table's shard."""
    return f"part-{number:05d}.parquet"


@dataclass(frozen=True)
class Table:
    """A finished table.

    Attributes:
        shards: In order.
        facts: What else the manifest says.
    """

    shards: list[Shard]
    facts: dict[str, Any]

    @classmethod
    def open(cls, folder: Path, remedy: str) -> "Table":
        """The table in a folder.

        Args:
            folder: It.
            remedy: What the user should do where it, or one of its shards, is missing or damaged.

        Raises:
            MukiError: There is no manifest (the table was never finished), or it is damaged.
        """
        path = folder / MANIFEST
        if not is_finished(folder):
            raise MukiError("there is no finished table", where=str(folder), fix=remedy)
        facts = files.read_json(path, remedy)
        try:
            shards = [
                Shard(**{**entry, "store": open_store(folder, entry.get("store")), "remedy": remedy})
                for entry in facts.pop("shards")
            ]
        except (KeyError, TypeError, ValueError) as error:
            raise MukiError(f"is damaged ({error})", where=str(path), fix=remedy) from None
        return cls(shards, facts)

    @property
    def rows(self) -> int:
        """Number of rows."""
        return sum(shard.rows for shard in self.shards)

    def frame(self, columns: list[str] | None = None) -> pl.DataFrame:
        """All rows with some columns, all by default, verified.

        Raises:
            MukiError: See `Shard.read`.
        """
        return pl.concat([frame(shard.read(columns)) for shard in self.shards])

    def take(self, rows: NDArray[np.intp], columns: list[str]) -> pl.DataFrame:
        """At least one row, in this order, with some columns; shards without any of them are not read.

        Raises:
            MukiError: See `Shard.read`.
        """
        ends = np.cumsum([shard.rows for shard in self.shards])
        numbers = np.searchsorted(ends, rows, side="right")
        order = np.argsort(numbers, kind="stable")
        parts = []
        for number in np.unique(numbers).tolist():
            shard = self.shards[number]
            own = rows[numbers == number] - (ends[number] - shard.rows)
            parts.append(frame(shard.read(columns).take(own)))
        return pl.concat(parts)[np.argsort(order)]


def is_finished(folder: Path) -> bool:
    """Whether there is a finished table in a folder."""
    return (folder / MANIFEST).is_file()


def unseal(folder: Path) -> None:
    """Begin to rewrite a table: a table without a manifest is not read by anything."""
    files.remove([files.make_folder(folder) / MANIFEST])


def seal(folder: Path, shards: Iterable[Shard], facts: Mapping[str, Any] | None = None) -> None:
    """Finish a table: write its manifest, then remove older shards that it does not list.

    Only files with a shard's name are removed; whatever else lies in the folder is left alone.
    """
    entries = list(shards)
    listed = [shard.entry | ({"store": shard.store.url} if shard.store.url else {}) for shard in entries]
    content = {"shards": listed, **(facts or {})}
    for store in dict.fromkeys(shard.store for shard in entries):
        store.record(content)
    files.write_json(folder / MANIFEST, content)
    present = {shard.file for shard in entries}
    files.remove(path for path in folder.iterdir() if _OWN_NAME.fullmatch(path.name) and path.name not in present)


def publish(folder: Path, shards: Iterable[Shard], facts: Mapping[str, Any]) -> None:
    """Make a table of finished work, or of another table's shards, without copying where that can be; sealed."""
    unseal(folder)
    published = [shard.store.publish(shard, folder, part_name(number)) for number, shard in enumerate(shards)]
    files.sync_folder(folder)
    seal(folder, published, facts)


def write_table_file(path: Path, table: pa.Table, metadata: Mapping[str, Any] | None = None) -> None:
    """Write a table of a single file, which no manifest lists: its footer holds the digest of its content.

    Args:
        path: Target file.
        table: Its rows.
        metadata: Also written to the footer.
    """
    FolderStore(path.parent).write(path.name, table, "", {**(metadata or {}), "content_sha256": _content_digest(table)})


def read_table_file(path: Path, columns: list[str] | None, remedy: str) -> pa.Table:
    """Read a single-file table after checking its content against its digest; None for all columns.

    Raises:
        MukiError: The file is missing, unreadable, changed or lacks a column.
    """
    error = partial(MukiError, where=str(path), fix=remedy)
    table = parse(pa.BufferReader(files.read_bytes(path, remedy)), None, error)
    try:
        is_whole = metadata_of(table).get("content_sha256") == _content_digest(table)
    except UNREADABLE as fault:
        raise error(f"is not readable ({fault})") from None
    if not is_whole:
        raise error("was changed since it was written")
    if missing := sorted(set(columns or []) - set(table.column_names)):
        raise error(f"has no column {missing}")
    return table if columns is None else table.select(columns)


def _content_digest(table: pa.Table) -> str:
    """SHA-256 of a table's names and values; not of its buffers, which hold anything where a value is null."""
    content = table.to_pydict()
    return hashlib.sha256(json.dumps(content, default=repr).encode()).hexdigest()
