"""Where shards lie: a folder of this file system, or a bucket. All else speaks to `Store`, and to the shards in it."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from muki_pipeline.errors import MukiError

_METADATA = b"muki"
"""The key of what this program writes into a file's footer."""
UNREADABLE = (pa.ArrowException, OSError, ValueError, OverflowError)
"""What pyarrow raises for a damaged file."""


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

    @property
    def entry(self) -> dict[str, Any]:
        """What manifests and markers say of it; where it lies is not a part of it."""
        return {name: getattr(self, name) for name in ("file", "rows", "bytes", "sha256", "key")}

    @property
    def where(self) -> str:
        """Its path or address, for messages."""
        return self.store.where(self.file)

    def read(self, columns: list[str] | None = None, *, verify: bool = True) -> pa.Table:
        """Some of its columns, all by default.

        Args:
            columns: Their names.
            verify: Whether to compute the file's digest. Use what was read without it only for intermediate numbers:
                before anything is published, the file must have been verified.

        Raises:
            MukiError: The file is missing, has another size, number of rows or (verified) digest, or lacks a column.
        """
        table = parse(self._opened(verify), columns, self._error)
        if len(table) != self.rows:
            raise self._error(f"has {len(table):,} rows, but its manifest says {self.rows:,}")
        return table

    def footer(self) -> dict[str, Any]:
        """The metadata that it was written with; the rows are not read.

        Raises:
            MukiError: The file is missing, unreadable or of another size, or was written without metadata.
        """
        if not (content := metadata_of(parse(self._opened(verify=False), [], self._error))):
            raise self._error("has no muki metadata")
        return content

    def is_intact(self) -> bool:
        """Whether its file is still the one that was written."""
        return self.store.is_intact(self)

    def _opened(self, verify: bool) -> pa.NativeFile:
        """Its file after a check of its size; verified, after one of all bytes."""
        try:
            file = pa.BufferReader(self.store.read(self.file)) if verify else self.store.open(self.file)
        except FileNotFoundError:
            raise self._error("is listed in the manifest but missing") from None
        except OSError as error:
            raise self._error(f"cannot be read ({error.strerror or error})") from None
        if (size := file.size()) != self.bytes:
            raise self._error(f"has {size:,} bytes, but its manifest says {self.bytes:,}: it was cut short or replaced")
        if verify and (digest := hashlib.sha256(file.read_buffer()).hexdigest()) != self.sha256:
            found = f"has SHA-256 {digest[:12]}…, but its manifest says {self.sha256[:12]}…"
            raise self._error(f"{found}: the file was changed")
        file.seek(0)
        return file

    def _error(self, what: str) -> MukiError:
        return MukiError(what, where=self.where, fix=self.remedy)


class Store(ABC):
    """The shards of one table, or of one kind of finished work. It can be pickled.

    Attributes:
        folder: The table's folder. In a bucket its name begins the names of all objects; the manifest is in the folder.
        url: A bucket's address; empty where the shards lie in the folder.
    """

    folder: Path
    url: str = ""

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

    def where(self, file: str) -> str:
        """A file's path or address, for messages."""
        return f"{self.url.rstrip('/') or self.folder}/{file}"

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
    def publish(self, shard: Shard, folder: Path, file: str) -> Shard:
        """Make a shard of this store a shard of the table in another folder, where a file of it is called `file`."""

    @abstractmethod
    def record(self, manifest: Mapping[str, Any]) -> None:
        """Note what a manifest lists, wherever `sweep` needs to know it."""

    def check(self) -> str:
        """Try whether shards can be stored; what was found, for a person, empty where nothing needs to be tried.

        Raises:
            MukiError: They cannot.
        """
        return ""

    def sweep(self, older_than: timedelta) -> tuple[int, int]:
        """Delete a bucket's data that nothing names: the rest of killed runs, and of writers that came second.

        Args:
            older_than: Younger data stays: whoever wrote it may be about to name it.

        Returns:
            How many objects were deleted, and their bytes.

        Raises:
            MukiError: It is no bucket, or cannot be reached.
        """
        fix = "Name one as store in params.yaml; there is nothing to sweep without one"
        raise MukiError("is a folder, not a bucket", where=str(self.folder), fix=fix)


def _parquet(table: pa.Table, metadata: Mapping[str, Any] | None) -> pa.Buffer:
    """A table as the content of a file, with metadata in its footer."""
    if metadata is not None:
        existing = table.schema.metadata or {}
        table = table.replace_schema_metadata({**existing, _METADATA: json.dumps(metadata, sort_keys=True).encode()})
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


def parse(file: pa.NativeFile, columns: list[str] | None, error: Callable[[str], MukiError]) -> pa.Table:
    """Some columns of an open Parquet file, all where they are None.

    Args:
        file: The file.
        columns: Their names.
        error: Makes an error of what is wrong.

    Raises:
        MukiError: It is not a Parquet file, or lacks a column.
    """
    try:
        content = pq.ParquetFile(file)
        if missing := sorted(set(columns or []) - set(content.schema_arrow.names)):
            raise error(f"has no column {missing}")
        return content.read(columns, use_threads=False)
    except UNREADABLE as fault:
        raise error(f"is not a readable Parquet file ({fault})") from None


def metadata_of(table: pa.Table) -> dict[str, Any]:
    """The metadata of the file that a table was read from; empty where this program has written none."""
    try:
        content = json.loads((table.schema.metadata or {}).get(_METADATA, "{}"))
    except ValueError:  # a bit has flipped
        return {}
    return content if isinstance(content, dict) else {}
