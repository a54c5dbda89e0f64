"""Parquet shards: schema, metadata, digests, atomic publishing, checked reading.

A table is a folder of `part-00000.parquet` … and a `manifest.json`, which is written last. Readers go by the manifest,
never by a directory listing, and refuse what it does not vouch for.
"""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.errors import MukiError

MANIFEST = "manifest.json"
METADATA_KEY = b"muki"
LABEL_SCHEMA = 2
"""Version of the label columns and of the numbers in them; raise it when either changes, and old shards are redone."""


@dataclass(frozen=True)
class Shard:
    """What a manifest vouches for.

    Attributes:
        file: Name within the table's folder.
        rows: Number of rows.
        bytes: Size of the file.
        sha256: Digest of the file.
        key: What the shard's content is a function of: a label shard's key, a corpus shard's content digest.
    """

    file: str
    rows: int
    bytes: int
    sha256: str
    key: str


def part_name(number: int) -> str:
    """File name of a table's shard."""
    return f"part-{number:05d}.parquet"


def canonical_key(facts: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical JSON of all that determines a result."""
    return hashlib.sha256(
        json.dumps(facts, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
    ).hexdigest()


def fixed_size_lists(rows: NDArray[np.float32]) -> pa.FixedSizeListArray:
    """A `[rows, width]` array as a column that polars sees as `pl.Array`."""
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(rows).reshape(-1)), rows.shape[1])


def matrix(column: pa.ChunkedArray) -> NDArray[np.float32]:
    """The inverse of `fixed_size_lists`: `[rows, width]`, without a copy where the column is one chunk."""
    lists = column.combine_chunks()
    values: NDArray[np.float32] = lists.flatten().to_numpy(zero_copy_only=False)
    return values.reshape(len(lists), lists.type.list_size)


def series(column: pa.ChunkedArray) -> pl.Series:
    """A column as polars has it, without a copy."""
    return pl.Series(pl.from_arrow(column))


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_bytes(path: Path, content: bytes | pa.Buffer) -> None:
    """Write a file so that a crash leaves the old one, the new one or none, but never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    _sync_folder(path.parent)


def write_shard(path: Path, table: pa.Table, key: str, metadata: Mapping[str, Any] | None = None) -> Shard:
    """Write one Parquet file atomically: beside the target, flushed, opened again and checked, renamed.

    Args:
        path: Target file.
        table: Its rows.
        key: What the content is a function of.
        metadata: Written to the footer as JSON, under the key `muki`.
    """
    if metadata is not None:
        kept = table.schema.metadata or {}
        table = table.replace_schema_metadata({**kept, METADATA_KEY: json.dumps(metadata, sort_keys=True).encode()})
    buffer = pa.BufferOutputStream()
    # No column repeats its values often enough for a dictionary to pay.
    pq.write_table(table, buffer, compression="zstd", use_dictionary=False)
    content = buffer.getvalue()
    if pq.read_metadata(pa.BufferReader(content)).num_rows != table.num_rows:
        raise RuntimeError(f"{path}: what was written does not read back")
    write_bytes(path, content)
    return Shard(path.name, table.num_rows, len(content), hashlib.sha256(content).hexdigest(), key)


def _missing(path: Path, remedy: str) -> MukiError:
    return MukiError("is named by the manifest and missing", where=str(path), fix=remedy)


def _check_size(size: int, shard: Shard, path: Path, remedy: str) -> None:
    if size != shard.bytes:
        what = f"has {size:,} bytes, the manifest vouches for {shard.bytes:,}: cut short or replaced"
        raise MukiError(what, where=str(path), fix=remedy)


def _parse(content: pa.NativeFile, path: Path, remedy: str, columns: list[str] | None) -> pa.Table:
    try:
        file = pq.ParquetFile(content)
        if missing := sorted(set(columns or []) - set(file.schema_arrow.names)):
            raise MukiError(f"has no column {missing}", where=str(path), fix=remedy)
        return file.read(columns, use_threads=False)
    except (pa.ArrowInvalid, OSError) as error:
        raise MukiError(f"is no readable Parquet file ({error})", where=str(path), fix=remedy) from None


def read_shard(folder: Path, shard: Shard, remedy: str, columns: list[str] | None = None) -> pa.Table:
    """Read a shard after checking that it is, byte for byte, what the manifest vouches for.

    Args:
        folder: The table.
        shard: The manifest's entry.
        remedy: What the user should do when the file is not what it was.
        columns: Only these columns; all of them by default.

    Raises:
        MukiError: The file is missing, cut short or changed, or lacks a column.
    """
    path = folder / shard.file
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise _missing(path, remedy) from None
    _check_size(len(content), shard, path, remedy)
    if (digest := hashlib.sha256(content).hexdigest()) != shard.sha256:
        what = f"has SHA-256 {digest[:12]}…, the manifest vouches for {shard.sha256[:12]}…: its bytes were changed"
        raise MukiError(what, where=str(path), fix=remedy)
    return _parse(pa.BufferReader(content), path, remedy, columns)


def read_unverified(folder: Path, shard: Shard, remedy: str, columns: list[str]) -> pa.Table:
    """A first look at some columns, without the file's digest.

    What follows from it may stand only once `read_shard` has read the same shard.

    Raises:
        MukiError: The file is missing, has another size or number of rows, or lacks a column.
    """
    path = folder / shard.file
    try:
        file = pa.memory_map(str(path))
    except FileNotFoundError:
        raise _missing(path, remedy) from None
    _check_size(file.size(), shard, path, remedy)
    table = _parse(file, path, remedy, columns)
    if len(table) != shard.rows:
        what = f"has {len(table):,} rows, the manifest vouches for {shard.rows:,}"
        raise MukiError(what, where=str(path), fix=remedy)
    return table


def read_file(path: Path, columns: list[str], remedy: str) -> pa.Table:
    """Read a single-file table that no manifest vouches for.

    Raises:
        MukiError: The file is missing, unreadable or lacks a column.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise MukiError("no such file", where=str(path), fix=remedy) from None
    return _parse(pa.BufferReader(content), path, remedy, columns)


def footer(path: Path, remedy: str) -> dict[str, Any]:
    """The JSON that `write_shard` put into a file's footer; the rows are not read.

    Raises:
        MukiError: The file is missing or unreadable, or was not written by this project.
    """
    try:
        stored = (pq.read_metadata(path).metadata or {}).get(METADATA_KEY)
    except FileNotFoundError:
        raise _missing(path, remedy) from None
    except (pa.ArrowInvalid, OSError) as error:
        raise MukiError(f"is no readable Parquet file ({error})", where=str(path), fix=remedy) from None
    if stored is None:
        raise MukiError("has no muki metadata", where=str(path), fix=remedy)
    content: dict[str, Any] = json.loads(stored)
    return content


def seal(folder: Path, shards: Iterable[Shard], facts: Mapping[str, Any] | None = None) -> None:
    """End a table: write its manifest, then remove every file that the manifest does not name."""
    entries = list(shards)
    content = {"shards": [asdict(shard) for shard in entries], **(facts or {})}
    write_bytes(folder / MANIFEST, (json.dumps(content, indent=1) + "\n").encode())
    named = {MANIFEST, *(shard.file for shard in entries)}
    for path in folder.iterdir():
        if path.name not in named:
            path.unlink() if path.is_file() else shutil.rmtree(path)


def unseal(folder: Path) -> None:
    """Begin to rewrite a table: without its manifest nobody reads it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)


def manifest(folder: Path, remedy: str) -> tuple[list[Shard], dict[str, Any]]:
    """The shards of a table, in order, and the facts that its manifest carries beside them.

    Raises:
        MukiError: There is no manifest (the table was never finished), or it is damaged.
    """
    path = folder / MANIFEST
    try:
        content = json.loads(path.read_bytes())
        return [Shard(**entry) for entry in content.pop("shards")], content
    except FileNotFoundError:
        raise MukiError("there is no finished table", where=str(folder), fix=remedy) from None
    except (ValueError, KeyError, TypeError) as error:
        raise MukiError(f"is damaged ({error})", where=str(path), fix=remedy) from None


def publish(folder: Path, finished: Iterable[tuple[Path, Shard]], facts: Mapping[str, Any]) -> None:
    """Make a table of finished shard files: by hard link, or by copy where the disk has none, the manifest last."""
    unseal(folder)
    shards = []
    for number, (source, shard) in enumerate(finished):
        name = part_name(number)
        temporary = folder / f".{name}.tmp"
        temporary.unlink(missing_ok=True)
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)
        temporary.replace(folder / name)
        shards.append(Shard(name, shard.rows, shard.bytes, shard.sha256, shard.key))
    _sync_folder(folder)
    seal(folder, shards, facts)


@contextmanager
def only_one(lock: Path, what: str) -> Iterator[None]:
    """Hold a lock file for as long as the work lasts; the system frees it when the process dies.

    Raises:
        MukiError: Another process holds it.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise MukiError(f"another process is {what}", where=str(lock), fix="Wait until it ends") from None
        yield
