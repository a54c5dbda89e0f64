"""Shards in a bucket (S3, Google Cloud Storage, Azure), by way of `obstore`.

The protocol never rests on renames or listings. Data goes under a name that is used once, and is read back and checked.
A small object then makes it count: it is created only if no other has that name, so that of several writers of the same
work exactly one wins and the others take its result. `sweep` alone lists objects, to remove what nothing names.
"""

import hashlib
import io
import json
import re
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from muki_pipeline.errors import MukiError
from muki_pipeline.store.folder import FolderStore
from muki_pipeline.store.keys import canonical_key
from muki_pipeline.store.store import Shard, Store

if TYPE_CHECKING:
    from obstore.store import ObjectStore

_CONFLICTS = 8
"""How often a creation that meets another one at the same moment is tried again."""
_RETRIES, _RETRY_FOR = 8, timedelta(minutes=3)
_IN_ONE_REQUEST = 60 * 2**20
"""Most bytes that are uploaded at once. The parts of a killed upload in parts stay, unlisted and paid for; but what is
larger would hardly be there before a request's time is up."""
_OWN_DATA = re.compile(r"[^/]+/[^/]+/[0-9a-f]{32}\.parquet")
"""What `put` calls its objects: whatever else lies under the prefix is not swept."""


@dataclass(frozen=True)
class BucketStore(Store):
    """Objects of a bucket. A pickled one looks for its credentials again, in the environment or the machine's role.

    Attributes:
        folder: See `Store`.
        url: `s3://BUCKET/PREFIX`, `gs://…`, `az://…`.

    Raises:
        MukiError: `obstore` is not installed.
    """

    folder: Path
    url: str

    def __post_init__(self) -> None:
        """Refuse early, before there is any work."""
        if find_spec("obstore") is None:
            fix = "Install the extra: pip install 'muki-pipeline[bucket]'"
            raise MukiError("a bucket needs the package obstore", where=f"store: {self.url}", fix=fix)

    def find(self, key: str) -> Shard | None:
        """See `Store`. The content was checked when it was written, and every reader checks it; here its size does.

        What the folder holds from a time without a bucket is uploaded, not made again.
        """
        name = self._marker(key)
        try:
            shard = Shard(**json.loads(self.read(name)), store=self)
        except FileNotFoundError:
            return self._uploaded(key)
        except (TypeError, ValueError):
            shard = None
        if shard is None or shard.key != key or not self.is_intact(shard):
            fix = "Delete this object, then run the command again"
            raise MukiError("names data that is not there", where=self.where(name), fix=fix)
        return shard

    def _uploaded(self, key: str) -> Shard | None:
        """The folder's own finished work of a key, now in the bucket."""
        own = FolderStore(self.folder).find(key)
        if own is None:
            return None
        return self.claim(replace(own, file=self.put(own.file, own.store.read(own.file)), store=self))

    def claim(self, shard: Shard) -> Shard:
        """See `Store`."""
        if self.create(self._marker(shard.key), shard.entry):
            return shard
        theirs = self.find(shard.key)
        if theirs is None:
            where = self.where(self._marker(shard.key))
            raise MukiError("was removed while it was used", where=where, fix="Run the command again")
        return theirs

    def _marker(self, key: str) -> str:
        """Name of the object that makes finished work count."""
        return f"{self.folder.name}/{key}.json"

    def put(self, file: str, content: bytes | pa.Buffer) -> str:
        """See `Store`: under a name that is never used again, after a check that it reads back.

        Raises:
            MukiError: The bucket cannot be reached or written, or returns something else.
        """
        _check_conditions(self.url)
        name = f"{self.folder.name}/{Path(file).stem}/{uuid.uuid4().hex}.parquet"
        with _explained(self.where(name)):
            _objects(self.url).put(name, bytes(content), use_multipart=len(content) > _IN_ONE_REQUEST)
        if hashlib.sha256(self.read(name)).digest() != hashlib.sha256(content).digest():
            fix = "Check the storage: it does not return what was stored"
            raise MukiError("does not read back as it was written", where=self.where(name), fix=fix)
        return name

    def create(self, name: str, content: Mapping[str, Any]) -> bool:
        """Create a JSON object unless there is one of this name; whether it was created.

        Raises:
            MukiError: The bucket cannot be reached or written.
        """
        _check_conditions(self.url)
        with _explained(self.where(name)):
            return _create(self.url, name, json.dumps(content, sort_keys=True, allow_nan=False).encode())

    def read(self, file: str) -> bytes:
        """See `Store`."""
        with _explained(self.where(file)):
            return bytes(_objects(self.url).get(file).bytes())

    def open(self, file: str) -> pa.NativeFile:
        """See `Store`."""
        size = self.size(file)
        if size is None:
            raise FileNotFoundError(self.where(file))
        return pa.PythonFile(_OpenObject(self, file, size), mode="r")

    def size(self, name: str) -> int | None:
        """An object's size in bytes; None where there is none.

        Raises:
            MukiError: The bucket cannot be reached.
        """
        try:
            with _explained(self.where(name)):
                return int(_objects(self.url).head(name)["size"])
        except FileNotFoundError:
            return None

    def is_intact(self, shard: Shard) -> bool:
        """See `Store`: it has its size; nothing in a bucket is changed."""
        return self.size(shard.file) == shard.bytes

    def publish(self, shard: Shard, folder: Path, file: str) -> Shard:
        """See `Store`; by name: the object stays where it is."""
        return replace(shard, store=replace(self, folder=folder))

    def record(self, manifest: Mapping[str, Any]) -> None:
        """See `Store`: a copy under the name of its content tells what is in use, wherever the manifest lies."""
        self.create(f"{self.folder.name}/manifest/{canonical_key(manifest)}.json", manifest)

    def check(self) -> str:
        """See `Store`: write and delete a small object.

        Raises:
            MukiError: The bucket cannot be reached or written, or overwrites what was to be created only if missing.
        """
        _check_conditions(self.url)
        return f"{self.url} can be written, and creates an object only if there is none"

    def sweep(self, older_than: timedelta) -> tuple[int, int]:
        """See `Store`."""
        objects, limit = _objects(self.url), datetime.now(UTC) - older_than
        data: dict[str, int] = {}
        named: set[str] = set()
        with _explained(self.where("")):
            for each in (each for listed in objects.list() for each in listed):
                if _OWN_DATA.fullmatch(each["path"]) and each["last_modified"] < limit:
                    data[each["path"]] = each["size"]
            # Names are read after the listing: what was named in the meantime is kept.
            for each in (each for listed in objects.list() for each in listed):
                if each["path"].endswith(".json"):
                    named |= _names_in(self._json(each["path"]))
            orphans = sorted(data.keys() - named)
            for at in range(0, len(orphans), 1000):
                objects.delete(orphans[at : at + 1000])
        return len(orphans), sum(data[name] for name in orphans)

    def _json(self, name: str) -> Any:
        """What an object says.

        Raises:
            MukiError: It is no JSON, so nobody knows what is in use.
        """
        try:
            return json.loads(self.read(name))
        except ValueError:
            fix = "Restore it, or move it out of the prefix if it is not this program's; nothing was deleted"
            raise MukiError("is no JSON, so what it names is not known", where=self.where(name), fix=fix) from None


class _OpenObject(io.RawIOBase):
    """A file whose every read is a request for that range."""

    def __init__(self, store: BucketStore, name: str, size: int) -> None:
        self._store, self._name, self._size, self._position = store, name, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        return self._position

    def read(self, size: int = -1) -> bytes:
        start, end = self._position, self._size if size < 0 else min(self._position + size, self._size)
        if end <= start:
            return b""
        self._position = end
        with _explained(self._store.where(self._name)):
            return bytes(_objects(self._store.url).get_range(self._name, start=start, end=end))


@contextmanager
def _explained(where: str) -> Iterator[None]:
    """Turn what `obstore` raises into a line that says what to do. Nothing of the request gets into it."""
    from obstore.exceptions import BaseError, NotFoundError, PermissionDeniedError, UnauthenticatedError

    try:
        yield
    except NotFoundError:
        raise FileNotFoundError(where) from None
    except (PermissionDeniedError, UnauthenticatedError):
        fix = "Set the credentials of this bucket in the environment; those in ~/.aws are not read"
        raise MukiError("access was refused", where=where, fix=fix) from None
    except BaseError as error:
        fix = "Check the bucket's name, region and endpoint, and the network; then run the command again"
        raise MukiError(f"the bucket does not answer ({_kind(error)})", where=where, fix=fix) from None


def _kind(error: BaseException) -> str:
    """The first line of an error without addresses, which may hold signatures."""
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return " ".join(word for word in line.split() if "://" not in word)[:120]


def _names_in(content: Any) -> set[str]:
    """The data that a shard's or a table's JSON names."""
    if not isinstance(content, dict):
        return set()
    entries = content.get("shards", [content])
    return {str(entry["file"]) for entry in entries if isinstance(entry, dict) and "file" in entry}


@cache
def _objects(url: str) -> "ObjectStore":
    from obstore.exceptions import BaseError
    from obstore.store import from_url

    try:
        store: ObjectStore = from_url(url, retry_config={"max_retries": _RETRIES, "retry_timeout": _RETRY_FOR})
    except (BaseError, ValueError) as error:
        fix = "Write it as s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX"
        raise MukiError(f"is not the address of a bucket ({_kind(error)})", where=f"store: {url}", fix=fix) from None
    return store


def _create(url: str, name: str, content: bytes) -> bool:
    """Create an object unless there is one; of two at the same moment both may fail with a conflict."""
    from obstore.exceptions import AlreadyExistsError, GenericError, PreconditionError

    for attempt in range(_CONFLICTS):
        try:
            _objects(url).put(name, content, mode="create")
        except (AlreadyExistsError, PreconditionError):
            return False
        except GenericError:
            if attempt + 1 == _CONFLICTS:
                raise
            time.sleep(0.05 * 2**attempt)
        else:
            return True
    raise AssertionError("unreachable")


@cache
def _check_conditions(url: str) -> None:
    """Find out whether the bucket honours "create only if there is none": without that, two writers could both win.

    Raises:
        MukiError: It does not.
    """
    name = f"probe/{uuid.uuid4().hex}"
    try:
        with _explained(f"{url.rstrip('/')}/{name}"):
            first, second = _create(url, name, b"{}"), _create(url, name, b"{}")
            _objects(url).delete(name)
    except FileNotFoundError:
        raise MukiError("there is no such bucket", where=url, fix="Create it, or correct its name") from None
    if not first or second:
        fix = "Use a storage that honours If-None-Match (S3, Google Cloud Storage, Azure, MinIO, R2)"
        raise MukiError("overwrites an object that was to be created only if missing", where=url, fix=fix)
