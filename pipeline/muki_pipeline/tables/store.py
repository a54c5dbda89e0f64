"""Where shards lie: a folder of this file system, or a bucket. All else speaks to `Store`, and to the shards in it."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from muki_pipeline.errors import MukiError

METADATA_KEY = b"muki"
UNREADABLE = (pa.ArrowException, OSError, ValueError, OverflowError)
"""What pyarrow raises for a damaged file."""
Content = TypeVar("Content")


@dataclass(frozen=True)
class Shard:
    """A Parquet file in a store, which is refused where it is not the one that was written. It can be pickled.

    Attributes:
        file: Its name in the store.
        rows: Number of rows.
        bytes: Size of the file.
        sha256: Digest of the file.
        key: What the content is a function of: a label shard's key, a corpus shard's content digest.
        store: Where it lies.
        remedy: What the user should do where it is missing or damaged.
    """

    file: str
    rows: int
    bytes: int
    sha256: str
    key: str
    store: "Store"
    remedy: str = field(default="Run the command again", compare=False)

    def entry(self) -> dict[str, Any]:
        """As JSON, without its store."""
        return {name: getattr(self, name) for name in ("file", "rows", "bytes", "sha256", "key")}

    @property
    def where(self) -> str:
        """Its path or address, for messages."""
        return self.store.where(self.file)

    def read(self, columns: list[str] | None = None) -> pa.Table:
        """Some of its columns, all by default, after a check that it is the file that was written, byte for byte.

        Raises:
            MukiError: The file is missing, cut short or changed, or lacks a column.
        """
        content = self._taken(self.store.read)
        self._check_size(len(content))
        if (digest := hashlib.sha256(content).hexdigest()) != self.sha256:
            found = f"has SHA-256 {digest[:12]}…, but its manifest says {self.sha256[:12]}…"
            raise self._error(f"{found}: the file was changed")
        return parse(pa.BufferReader(content), self.where, self.remedy, columns)

    def read_unverified(self, columns: list[str]) -> pa.Table:
        """Some of its columns, without the file's digest, and from a bucket without the other columns.

        Use the result only for intermediate numbers; before anything is published, `read` must have read the file.

        Raises:
            MukiError: The file is missing, has another size or number of rows, or lacks a column.
        """
        table = parse(self._opened(), self.where, self.remedy, columns)
        if len(table) != self.rows:
            raise self._error(f"has {len(table):,} rows, but its manifest says {self.rows:,}")
        return table

    def footer(self) -> dict[str, Any]:
        """The metadata that it was written with; the rows are not read.

        Raises:
            MukiError: The file is missing, unreadable or of another size, or was not written by this project.
        """
        return footer_of(self._opened(), self.where, self.remedy)

    def is_intact(self) -> bool:
        """Whether its file is still the one that was written."""
        return self.store.is_intact(self)

    def _opened(self) -> pa.NativeFile:
        file = self._taken(self.store.open)
        self._check_size(file.size())
        return file

    def _taken(self, take: Callable[[str], Content]) -> Content:
        try:
            return take(self.file)
        except FileNotFoundError:
            raise self._error("is listed in the manifest but missing") from None
        except OSError as error:
            raise self._error(f"cannot be read ({error.strerror or error})") from None

    def _check_size(self, size: int) -> None:
        if size != self.bytes:
            raise self._error(f"has {size:,} bytes, but its manifest says {self.bytes:,}: it was cut short or replaced")

    def _error(self, what: str) -> MukiError:
        return MukiError(what, where=self.where, fix=self.remedy)


class Store(ABC):
    """The shards of one table, or of one kind of finished work. It can be pickled.

    Attributes:
        folder: The table's folder. In a bucket its name begins the names of all objects; the manifest is in the folder.
    """

    folder: Path

    def write(self, file: str, table: pa.Table, key: str, metadata: Mapping[str, Any] | None = None) -> Shard:
        """Write a shard atomically, checked; a bucket's own name for it begins with this one.

        Args:
            file: Its name.
            table: Its rows.
            key: What the content is a function of.
            metadata: Written to the footer as JSON, under the key `muki`.

        Raises:
            MukiError: The bucket cannot be reached or written.
        """
        content = _parquet(table, metadata)
        digest = hashlib.sha256(content).hexdigest()
        return Shard(self.put(file, content), table.num_rows, len(content), digest, key, self)

    def finish(self, key: str, table: pa.Table, metadata: Mapping[str, Any]) -> Shard:
        """Write finished work under its key; what makes it count is written last.

        In a bucket somebody else may have finished the same work meanwhile: theirs is then the result.

        Args:
            key: What the content is a function of.
            table: Its rows.
            metadata: For the footer.
        """
        return self.claim(self.write(f"{key}.parquet", table, key, metadata))

    @abstractmethod
    def find(self, key: str) -> Shard | None:
        """The finished work with this key, None where it is missing or incomplete.

        Raises:
            MukiError: A bucket names data that is not there.
        """

    @abstractmethod
    def claim(self, shard: Shard) -> Shard:
        """Let a shard count as the finished work of its key, unless another one does; the one that counts."""

    @abstractmethod
    def put(self, file: str, content: pa.Buffer) -> str:
        """Store a file; the name that it got."""

    @abstractmethod
    def read(self, file: str) -> bytes:
        """A file's content.

        Raises:
            OSError: It is missing or cannot be read.
        """

    @abstractmethod
    def open(self, file: str) -> pa.NativeFile:
        """A file of which only what is read is fetched. Raises as `read`."""

    @abstractmethod
    def is_intact(self, shard: Shard) -> bool:
        """Whether a shard's file is still the one that was written."""

    @abstractmethod
    def where(self, file: str) -> str:
        """A file's path or address, for messages."""

    @property
    @abstractmethod
    def entry(self) -> dict[str, str]:
        """What a manifest says of the store, in the entry of each shard."""

    @abstractmethod
    def publish(self, shard: Shard, folder: Path, file: str) -> Shard:
        """Make a shard of this store a shard of the table in another folder, where a file of it is called `file`."""

    @abstractmethod
    def record(self, manifest: Mapping[str, Any]) -> None:
        """Note what a manifest lists, wherever `sweep` needs to know it."""

    @abstractmethod
    def check(self) -> str:
        """Try whether shards can be stored; what was found, for a person, empty where nothing needs to be tried.

        Raises:
            MukiError: They cannot.
        """

    @abstractmethod
    def sweep(self, older_than: timedelta) -> tuple[int, int]:
        """Delete a bucket's data that nothing names: the rest of killed runs, and of writers that came second.

        Args:
            older_than: Younger data stays: whoever wrote it may be about to name it.

        Returns:
            How many objects were deleted, and their bytes.

        Raises:
            MukiError: It is no bucket, or cannot be reached.
        """


def _parquet(table: pa.Table, metadata: Mapping[str, Any] | None) -> pa.Buffer:
    """A table as the content of a file, with metadata in its footer."""
    if metadata is not None:
        existing = table.schema.metadata or {}
        table = table.replace_schema_metadata({**existing, METADATA_KEY: json.dumps(metadata, sort_keys=True).encode()})
    buffer = pa.BufferOutputStream()
    # No column repeats its values often enough for a dictionary to pay.
    pq.write_table(table, buffer, compression=_compression(table.schema), use_dictionary=False)
    content = buffer.getvalue()
    if pq.read_metadata(pa.BufferReader(content)).num_rows != table.num_rows:
        raise RuntimeError("what pyarrow wrote does not read back")
    return content


def _compression(columns: pa.Schema) -> dict[str, str]:
    """Each column's. Numbers in half precision look like noise: to compress them costs time and saves a tenth."""
    found = {}
    for column in columns:
        is_vector = pa.types.is_fixed_size_list(column.type)
        is_half = is_vector and pa.types.is_float16(column.type.value_type)
        found[f"{column.name}.list.element" if is_vector else column.name] = "none" if is_half else "zstd"
    return found


def parse(content: pa.NativeFile, where: str, remedy: str, columns: list[str] | None) -> pa.Table:
    """Some columns of an open Parquet file, all where they are None; `where` and `remedy` are for the message.

    Raises:
        MukiError: It is not a Parquet file, or lacks a column.
    """
    try:
        file = pq.ParquetFile(content)
        if missing := sorted(set(columns or []) - set(file.schema_arrow.names)):
            raise MukiError(f"has no column {missing}", where=where, fix=remedy)
        return file.read(columns, use_threads=False)
    except UNREADABLE as error:
        raise MukiError(f"is not a readable Parquet file ({error})", where=where, fix=remedy) from None


def footer_of(file: pa.NativeFile, where: str, remedy: str) -> dict[str, Any]:
    """The metadata in the footer of an open Parquet file; `where` and `remedy` are for the message.

    Raises:
        MukiError: It is not a Parquet file, or not one of this project's.
    """
    try:
        stored = (pq.read_metadata(file).metadata or {}).get(METADATA_KEY)
        content = None if stored is None else json.loads(stored)
    except UNREADABLE as error:
        raise MukiError(f"is not a readable Parquet file ({error})", where=where, fix=remedy) from None
    if not isinstance(content, dict):
        raise MukiError("has no muki metadata", where=where, fix=remedy)
    return content
