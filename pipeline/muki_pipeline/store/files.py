"""Files: atomic writes, publishing, locks, removal. Only `store/` changes anything on the disk."""

import errno
import fcntl
import json
import logging
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from muki_pipeline.errors import MukiError

_LOG = logging.getLogger(__name__)
_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
"""What a file system without locks answers."""


def sync_folder(folder: Path) -> None:
    """Make sure that renames within a folder survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _replacing(path: Path, *, sync: bool = False) -> Iterator[Path]:
    """A path beside a file; what is written there takes the file's place when all of it is written."""
    temporary = make_folder(path.parent) / f".{path.name}.tmp"
    try:
        yield temporary
        temporary.replace(path)
        if sync:
            sync_folder(path.parent)
    except OSError as error:
        error.filename = error.filename or str(path)  # a write to an open file fails without its name
        raise


def write_bytes(path: Path, content: bytes | pa.Buffer) -> None:
    """Write a file so that a crash leaves the old file, the new file or no file, but never part of one."""
    with _replacing(path, sync=True) as temporary, temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def write_stream(path: Path, parts: Iterable[pa.Table]) -> None:
    """Write tables of one schema into one Arrow file, part by part, so that only one of them is in memory; atomically.

    Raises:
        StopIteration: There is no part.
    """
    rest = iter(parts)
    first = next(rest)
    with _replacing(path) as temporary, temporary.open("wb") as file, pa.ipc.new_stream(file, first.schema) as writer:
        for part in chain([first], rest):
            writer.write_table(part)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file atomically.

    Raises:
        ValueError: A number is NaN or infinite, which JSON cannot hold.
    """
    write_bytes(path, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())


def read_json(path: Path, remedy: str) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        MukiError: The file is missing, unreadable or not a JSON object.
    """
    try:
        content = json.loads(read_bytes(path, remedy))
    except ValueError as error:
        raise MukiError(f"is not valid JSON ({error})", where=str(path), fix=remedy) from None
    if not isinstance(content, dict):
        raise MukiError(f"holds a {type(content).__name__}, not a JSON object", where=str(path), fix=remedy)
    return content


def read_bytes(path: Path, remedy: str) -> bytes:
    """A file's content.

    Raises:
        MukiError: The file is missing or cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise MukiError("no such file", where=str(path), fix=remedy) from None
    except OSError as error:
        raise MukiError(f"cannot be read ({error.strerror})", where=str(path), fix=remedy) from None


def link_or_copy(source: Path, target: Path) -> None:
    """Make `target` a hard link to `source`, or a copy where the file system has no hard links; atomically."""
    with _replacing(target) as temporary:
        temporary.unlink(missing_ok=True)
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)


def expanded(reference: str | Path) -> Path:
    """A path with the home folder in place of `~`; `~name` stays where there is no such user, as in `~$mails.xlsx`."""
    try:
        return Path(reference).expanduser()
    except RuntimeError:
        return Path(reference)


def exists(path: Path) -> bool:
    """Whether there is a file or folder."""
    return path.exists()


def is_readable(path: Path) -> bool:
    """Whether there is a regular file that may be read."""
    return path.is_file() and os.access(path, os.R_OK)


def free_bytes(folder: Path) -> int:
    """Free space on the disk that a folder lies on."""
    return shutil.disk_usage(folder).free


def make_folder(folder: Path) -> Path:
    """The folder, made where it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def remove(paths: Iterable[Path]) -> None:
    """Remove files and folders; what is not there is fine."""
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


@contextmanager
def only_one(lock: Path, what: str, *, waits: bool = False) -> Iterator[None]:
    """Hold a lock file while the work lasts; the system releases it when the process dies.

    Args:
        lock: The file.
        what: What is being done, for messages.
        waits: Wait until another process has released it, where that takes a moment.

    Raises:
        MukiError: Another process holds it, and nobody waits.
    """
    make_folder(lock.parent)
    with lock.open("w") as file:
        try:
            _acquire(file, 0 if waits else fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            raise MukiError(f"another process is {what}", where=str(lock), fix="Wait until it ends") from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            _LOG.warning("%s: this file system has no locks, so make sure that nothing else is %s", lock, what)
        yield


def _acquire(file: IO[str], flags: int) -> None:
    """Lock by `flock`, or by POSIX where the file system has only that (some network file systems).

    The package filelock knows no POSIX locks; without `flock` it takes to a lock file, which outlives a killed process.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | flags)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        fcntl.lockf(file, fcntl.LOCK_EX | flags)
