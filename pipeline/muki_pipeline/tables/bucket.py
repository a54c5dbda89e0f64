"""Objects in a bucket (S3, Google Cloud Storage, Azure), by way of `obstore`.

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
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from muki_pipeline.errors import MukiError

if TYPE_CHECKING:
    from obstore.store import ObjectStore

_CONFLICTS = 8
"""How often a creation that meets another one at the same moment is tried again."""
_RETRIES, _RETRY_FOR = 8, timedelta(minutes=3)
_DATA, _NAMES = ".parquet", ".json"
_OWN_DATA = re.compile(r"[^/]+/[^/]+/[0-9a-f]{32}\.parquet")
"""What `put_data` calls its objects: whatever else lies under the prefix is not swept."""


@dataclass(frozen=True)
class Bucket:
    """A prefix in a bucket. It can be pickled: credentials are found anew, in the environment or the machine's role.

    Attributes:
        url: `s3://BUCKET/PREFIX`, `gs://…`, `az://…`.
    """

    url: str

    def check(self) -> None:
        """Write and delete a small object.

        Raises:
            MukiError: The bucket cannot be reached or written, or overwrites what was to be created only if missing.
        """
        _check_conditions(self.url)

    def put_data(self, folder: str, content: bytes | pa.Buffer) -> str:
        """Store content under a name that is never used again, and check that it reads back.

        Args:
            folder: The name's beginning.
            content: What to store.

        Returns:
            The object's name.

        Raises:
            MukiError: The bucket cannot be reached or written, or returns something else.
        """
        import obstore

        _check_conditions(self.url)
        name = f"{folder}/{uuid.uuid4().hex}{_DATA}"
        with self._explaining(name):
            obstore.put(_store(self.url), name, bytes(content))
            if hashlib.sha256(self.read(name)).digest() != hashlib.sha256(content).digest():
                fix = "Check the storage: it does not return what it was given"
                raise MukiError("does not read back as it was written", where=self.where(name), fix=fix)
        return name

    def create(self, name: str, content: Mapping[str, Any]) -> bool:
        """Create a JSON object unless there is one of this name.

        Returns:
            Whether it was created; if not, somebody else's is there.

        Raises:
            MukiError: The bucket cannot be reached or written.
        """
        _check_conditions(self.url)
        with self._explaining(name):
            return _create(self.url, name, json.dumps(content, sort_keys=True, allow_nan=False).encode())

    def read(self, name: str) -> bytes:
        """An object's content.

        Raises:
            FileNotFoundError: There is none.
            MukiError: The bucket cannot be reached.
        """
        import obstore

        with self._explaining(name):
            return bytes(obstore.get(_store(self.url), name).bytes())

    def size(self, name: str) -> int | None:
        """An object's size in bytes; None where there is none.

        Raises:
            MukiError: The bucket cannot be reached.
        """
        import obstore

        try:
            with self._explaining(name):
                return int(obstore.head(_store(self.url), name)["size"])
        except FileNotFoundError:
            return None

    def open(self, name: str) -> io.RawIOBase:
        """An object as a file: only what is read of it is fetched.

        Raises:
            FileNotFoundError: There is none.
            MukiError: The bucket cannot be reached.
        """
        size = self.size(name)
        if size is None:
            raise FileNotFoundError(self.where(name))
        return _OpenObject(self, name, size)

    def read_range(self, name: str, start: int, end: int) -> bytes:
        """An object's bytes from `start` to before `end`.

        Raises:
            FileNotFoundError: There is no such object.
            MukiError: The bucket cannot be reached.
        """
        import obstore

        with self._explaining(name):
            return bytes(obstore.get_range(_store(self.url), name, start=start, end=end))

    def where(self, name: str) -> str:
        """An object's address, for messages."""
        return f"{self.url.rstrip('/')}/{name}"

    def sweep(self, older_than: timedelta) -> tuple[int, int]:
        """Delete data that nothing names: the rest of killed runs, and of writers that came second.

        Args:
            older_than: Younger data stays: whoever wrote it may be about to name it.

        Returns:
            How many objects were deleted, and their bytes.
        """
        import obstore

        store, limit = _store(self.url), datetime.now(UTC) - older_than
        data: dict[str, int] = {}
        named: set[str] = set()
        with self._explaining(""):
            for objects in obstore.list(store):
                for each in objects:
                    if _OWN_DATA.fullmatch(each["path"]) and each["last_modified"] < limit:
                        data[each["path"]] = each["size"]
            # Names are read after the listing: what was named in the meantime is kept.
            for objects in obstore.list(store):
                for each in objects:
                    if each["path"].endswith(_NAMES):
                        named |= _names_in(json.loads(self.read(each["path"])))
            orphans = sorted(data.keys() - named)
            for at in range(0, len(orphans), 1000):
                obstore.delete(store, orphans[at : at + 1000])
        return len(orphans), sum(data[name] for name in orphans)

    def _explaining(self, name: str) -> "_Explaining":
        return _Explaining(self.where(name))


class _OpenObject(io.RawIOBase):
    """A file whose every read is a request for that range."""

    def __init__(self, bucket: Bucket, name: str, size: int) -> None:
        self._bucket, self._name, self._size, self._position = bucket, name, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        return self._position

    def read(self, size: int = -1) -> bytes:
        end = self._size if size < 0 else min(self._position + size, self._size)
        if end <= self._position:
            return b""
        content = self._bucket.read_range(self._name, self._position, end)
        self._position = end
        return content


class _Explaining:
    """Turns what `obstore` raises into a line that says what to do. Nothing of the request gets into it."""

    def __init__(self, where: str) -> None:
        self.where = where

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, FileNotFoundError):
            return
        from obstore import exceptions

        if isinstance(error, exceptions.NotFoundError):
            raise FileNotFoundError(self.where) from None
        if isinstance(error, (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError)):
            fix = "Set the credentials of this bucket, as for the provider's own tools"
            raise MukiError("access was refused", where=self.where, fix=fix) from None
        if isinstance(error, exceptions.BaseError):
            fix = "Check the bucket's name, region and endpoint, and the network; then run the command again"
            raise MukiError(f"the bucket does not answer ({_kind(error)})", where=self.where, fix=fix) from None


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
def _store(url: str) -> "ObjectStore":
    try:
        from obstore.exceptions import BaseError
        from obstore.store import from_url
    except ImportError:
        fix = "Install the extra: pip install 'muki-pipeline[bucket]'"
        raise MukiError("a bucket needs the package obstore", where=f"store: {url}", fix=fix) from None
    try:
        store: ObjectStore = from_url(url, retry_config={"max_retries": _RETRIES, "retry_timeout": _RETRY_FOR})
    except (BaseError, ValueError) as error:
        fix = "Write it as s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX"
        raise MukiError(f"is not the address of a bucket ({_kind(error)})", where=f"store: {url}", fix=fix) from None
    return store


def _create(url: str, name: str, content: bytes) -> bool:
    """Create an object unless there is one; two creations at the same moment may both be told to try again."""
    import obstore
    from obstore.exceptions import AlreadyExistsError, GenericError, PreconditionError

    for attempt in range(_CONFLICTS):
        try:
            obstore.put(_store(url), name, content, mode="create")
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
    import obstore

    bucket, name = Bucket(url), f"probe/{uuid.uuid4().hex}"
    try:
        with bucket._explaining(name):
            first, second = _create(url, name, b"{}"), _create(url, name, b"{}")
            obstore.delete(_store(url), name)
    except FileNotFoundError:
        raise MukiError("there is no such bucket", where=url, fix="Create it, or correct its name") from None
    if not first or second:
        fix = "Use a storage that honours If-None-Match (S3, Google Cloud Storage, Azure, MinIO, R2)"
        raise MukiError("overwrites an object that was to be created only if missing", where=url, fix=fix)
