"""Parquet files: written atomically, read back only after a check."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from muki_pipeline.errors import MukiError
from muki_pipeline.tables import files
from muki_pipeline.tables.bucket import Bucket
from muki_pipeline.tables.keys import file_digest

METADATA_KEY = b"muki"
_UNREADABLE = (pa.ArrowException, OSError, ValueError, OverflowError)
"""What pyarrow raises for a damaged file."""


@dataclass(frozen=True)
class Shard:
    """What a manifest says about one file.

    Attributes:
        file: Name within the table's folder.
        rows: Number of rows.
        bytes: Size of the file.
        sha256: Digest of the file.
        key: What the content is a function of: a label shard's key, a corpus shard's content digest.
        store: The bucket that holds the file, under the name `file`; empty for a file in the table's folder.
    """

    file: str
    rows: int
    bytes: int
    sha256: str
    key: str
    store: str = ""

    def entry(self) -> dict[str, Any]:
        """As a manifest lists it."""
        return {name: value for name, value in asdict(self).items() if name != "store" or value}

    def where(self, folder: Path) -> str:
        """Its path or address, for messages."""
        return Bucket(self.store).where(self.file) if self.store else str(folder / self.file)


def part_name(number: int) -> str:
    """File name of a table's shard."""
    return f"part-{number:05d}.parquet"


def write_shard(
    path: Path, table: pa.Table, key: str, metadata: Mapping[str, Any] | None = None, store: str | None = None
) -> Shard:
    """Write one Parquet file atomically: beside the target, flushed, checked, renamed; or into a bucket.

    Args:
        path: Target file. In a bucket its folder's name and its own are the beginning of the object's name.
        table: Its rows.
        key: What the content is a function of.
        metadata: Written to the footer as JSON, under the key `muki`.
        store: The bucket to write into, None for the path itself.
    """
    if metadata is not None:
        existing = table.schema.metadata or {}
        table = table.replace_schema_metadata({**existing, METADATA_KEY: json.dumps(metadata, sort_keys=True).encode()})
    buffer = pa.BufferOutputStream()
    # No column repeats its values often enough for a dictionary to pay.
    pq.write_table(table, buffer, compression=_compression(table.schema), use_dictionary=False)
    content = buffer.getvalue()
    if pq.read_metadata(pa.BufferReader(content)).num_rows != table.num_rows:
        raise RuntimeError(f"{path}: what was written does not read back")
    digest = hashlib.sha256(content).hexdigest()
    if store is None:
        files.write_bytes(path, content)
        return Shard(path.name, table.num_rows, len(content), digest, key)
    name = Bucket(store).put_data(f"{path.parent.name}/{path.stem}", content)
    return Shard(name, table.num_rows, len(content), digest, key, store)


def _compression(columns: pa.Schema) -> dict[str, str]:
    """Each column's. Numbers in half precision look like noise: to compress them costs time and saves a tenth."""
    found = {}
    for field in columns:
        is_vector = pa.types.is_fixed_size_list(field.type)
        is_half = is_vector and pa.types.is_float16(field.type.value_type)
        found[f"{field.name}.list.element" if is_vector else field.name] = "none" if is_half else "zstd"
    return found


def read_shard(folder: Path, shard: Shard, remedy: str, columns: list[str] | None = None) -> pa.Table:
    """Read a shard after checking that it is, byte for byte, the file in the manifest.

    Args:
        folder: The table.
        shard: The manifest's entry.
        remedy: What the user should do if the file has changed.
        columns: Only these columns; all of them by default.

    Raises:
        MukiError: The file is missing, cut short or changed, or lacks a column.
    """
    return _parse(pa.BufferReader(_verified(folder, shard, remedy)), shard.where(folder), remedy, columns)


def read_unverified(folder: Path, shard: Shard, remedy: str, columns: list[str]) -> pa.Table:
    """Read some columns without computing the file's digest.

    Use the result only for intermediate numbers; before anything is published, `read_shard` must have read the file.

    Raises:
        MukiError: The file is missing, has another size or number of rows, or lacks a column.
    """
    where = shard.where(folder)
    table = _parse(_opened(folder, shard, remedy), where, remedy, columns)
    if len(table) != shard.rows:
        what = f"has {len(table):,} rows, but its manifest says {shard.rows:,}"
        raise MukiError(what, where=where, fix=remedy)
    return table


def is_intact(folder: Path, shard: Shard) -> bool:
    """Whether a shard's file is the one in the manifest; of an object in a bucket, which cannot change, its size."""
    if shard.store:
        return Bucket(shard.store).size(shard.file) == shard.bytes
    path = folder / shard.file
    return files.exists(path) and file_digest(path) == shard.sha256


def write_table_file(path: Path, table: pa.Table, metadata: Mapping[str, Any] | None = None) -> None:
    """Write a table of a single file, which no manifest lists: its footer holds the digest of its content.

    Args:
        path: Target file.
        table: Its rows.
        metadata: Also written to the footer.
    """
    write_shard(path, table, "", {**(metadata or {}), "content_sha256": _content_digest(table)})


def read_table_file(path: Path, columns: list[str] | None, remedy: str) -> pa.Table:
    """Read a single-file table after checking its content against its digest; None for all columns.

    Raises:
        MukiError: The file is missing, unreadable, changed or lacks a column.
    """
    content = pa.BufferReader(files.read_bytes(path, remedy))
    expected = footer_of(content, str(path), remedy).get("content_sha256")
    table = _parse(content, str(path), remedy, None)
    try:
        digest = _content_digest(table)
    except _UNREADABLE as error:
        raise MukiError(f"is not readable ({error})", where=str(path), fix=remedy) from None
    if digest != expected:
        raise MukiError("was changed since it was written", where=str(path), fix=remedy)
    if missing := sorted(set(columns or []) - set(table.column_names)):
        raise MukiError(f"has no column {missing}", where=str(path), fix=remedy)
    return table if columns is None else table.select(columns)


def _content_digest(table: pa.Table) -> str:
    """SHA-256 of a table's names and values; not of its buffers, which hold anything where a value is null."""
    content = table.to_pydict()
    return hashlib.sha256(json.dumps(content, default=repr).encode()).hexdigest()


def read_footer(folder: Path, shard: Shard, remedy: str) -> dict[str, Any]:
    """The JSON that `write_shard` put into a file's footer; the rows are not read.

    Raises:
        MukiError: The file is missing, unreadable or of another size, or was not written by this project.
    """
    return footer_of(_opened(folder, shard, remedy), shard.where(folder), remedy)


def metadata_of(table: pa.Table) -> dict[str, Any]:
    """The JSON that `write_shard` put into the footer of the file that a table was read from."""
    content: dict[str, Any] = json.loads(table.schema.metadata[METADATA_KEY])
    return content


def footer_of(file: pa.NativeFile, where: str, remedy: str) -> dict[str, Any]:
    """The JSON in the footer of an open Parquet file; `where` is for the message.

    Raises:
        MukiError: It is not a Parquet file, or not one of this project's.
    """
    try:
        stored = (pq.read_metadata(file).metadata or {}).get(METADATA_KEY)
        content = None if stored is None else json.loads(stored)
    except _UNREADABLE as error:
        raise MukiError(f"is not a readable Parquet file ({error})", where=where, fix=remedy) from None
    if not isinstance(content, dict):
        raise MukiError("has no muki metadata", where=where, fix=remedy)
    return content


def _verified(folder: Path, shard: Shard, remedy: str) -> bytes:
    where = shard.where(folder)
    try:
        content = Bucket(shard.store).read(shard.file) if shard.store else (folder / shard.file).read_bytes()
    except FileNotFoundError:
        raise _missing(where, remedy) from None
    except OSError as error:
        raise MukiError(f"cannot be read ({error.strerror})", where=where, fix=remedy) from None
    _check_size(len(content), shard, where, remedy)
    if (digest := hashlib.sha256(content).hexdigest()) != shard.sha256:
        what = f"has SHA-256 {digest[:12]}…, but its manifest says {shard.sha256[:12]}…: the file was changed"
        raise MukiError(what, where=where, fix=remedy)
    return content


def _opened(folder: Path, shard: Shard, remedy: str) -> pa.NativeFile:
    """An open file, after a check of its size."""
    where = shard.where(folder)
    try:
        if shard.store:
            file = pa.PythonFile(Bucket(shard.store).open(shard.file), mode="r")
        else:
            file = pa.memory_map(str(folder / shard.file))
    except FileNotFoundError:
        raise _missing(where, remedy) from None
    except OSError as error:
        raise MukiError(f"cannot be read ({error.strerror or error})", where=where, fix=remedy) from None
    _check_size(file.size(), shard, where, remedy)
    return file


def _missing(where: str, remedy: str) -> MukiError:
    return MukiError("is listed in the manifest but missing", where=where, fix=remedy)


def _check_size(size: int, shard: Shard, where: str, remedy: str) -> None:
    if size != shard.bytes:
        what = f"has {size:,} bytes, but its manifest says {shard.bytes:,}: it was cut short or replaced"
        raise MukiError(what, where=where, fix=remedy)


def _parse(content: pa.NativeFile, where: str, remedy: str, columns: list[str] | None) -> pa.Table:
    try:
        file = pq.ParquetFile(content)
        if missing := sorted(set(columns or []) - set(file.schema_arrow.names)):
            raise MukiError(f"has no column {missing}", where=where, fix=remedy)
        return file.read(columns, use_threads=False)
    except _UNREADABLE as error:
        raise MukiError(f"is not a readable Parquet file ({error})", where=where, fix=remedy) from None
