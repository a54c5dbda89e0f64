"""A table is a folder of `part-00000.parquet` … and a `manifest.json`, which is written last.

Readers go by the manifest, never by a directory listing, and refuse every file that differs from it.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from muki_pipeline.errors import MukiError
from muki_pipeline.layout import MAKE_GOLDEN
from muki_pipeline.tables import files
from muki_pipeline.tables.bucket import Bucket
from muki_pipeline.tables.keys import canonical_key
from muki_pipeline.tables.schema import GOLDEN_VERSION
from muki_pipeline.tables.shards import Shard, part_name
from muki_pipeline.tables.work import StoredShard

MANIFEST = "manifest.json"
_OWN_NAME = re.compile(r"part-\d{5,}\.parquet|\.(part-\d{5,}\.parquet|manifest\.json)\.tmp")


def unseal(folder: Path) -> None:
    """Begin to rewrite a table: a table without a manifest is not read by anything."""
    files.remove([files.make_folder(folder) / MANIFEST])


def seal(folder: Path, shards: Iterable[Shard], facts: Mapping[str, Any] | None = None) -> None:
    """Finish a table: write its manifest, then remove older shards that it does not list.

    Only files with a shard's name are removed; whatever else lies in the folder is left alone.
    """
    entries = list(shards)
    content = {"shards": [shard.entry() for shard in entries], **(facts or {})}
    for store in sorted({shard.store for shard in entries if shard.store}):
        # The bucket has a copy under the name of its content, so that `sweep` knows what is in use, wherever it runs.
        Bucket(store).create(f"{folder.name}/manifest/{canonical_key(content)}.json", content)
    files.write_json(folder / MANIFEST, content)
    listed = {shard.file for shard in entries}
    files.remove(path for path in folder.iterdir() if _OWN_NAME.fullmatch(path.name) and path.name not in listed)


def read_manifest(folder: Path, remedy: str) -> tuple[list[Shard], dict[str, Any]]:
    """The shards of a table, in order, and the other facts in its manifest.

    Raises:
        MukiError: There is no manifest (the table was never finished), or it is damaged.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise MukiError("there is no finished table", where=str(folder), fix=remedy)
    content = files.read_json(path, remedy)
    try:
        shards = [Shard(**entry) for entry in content.pop("shards")]
    except (KeyError, TypeError) as error:
        raise MukiError(f"is damaged ({error})", where=str(path), fix=remedy) from None
    if unsafe := [shard.file for shard in shards if not shard.store and Path(shard.file).name != shard.file]:
        raise MukiError(f"lists {unsafe[0]!r}, which is not a file name", where=str(path), fix=remedy)
    return shards, content


def read_golden_manifest(folder: Path) -> tuple[list[Shard], dict[str, Any]]:
    """The shards of a golden table and the facts in its manifest.

    Raises:
        MukiError: See `read_manifest`; the table is of another version.
    """
    shards, facts = read_manifest(folder, MAKE_GOLDEN)
    if facts.get("schema") != GOLDEN_VERSION:
        raise MukiError("was made by another version of this program", where=str(folder), fix=MAKE_GOLDEN)
    return shards, facts


def is_finished(folder: Path) -> bool:
    """Whether there is a finished table in a folder."""
    return (folder / MANIFEST).is_file()


def copy_table(source: Path, target: Path) -> None:
    """Make a table another one's equal, by hard links or copies."""
    shards, facts = read_manifest(source, "")
    publish(target, [StoredShard(source, shard) for shard in shards], facts)


def publish(folder: Path, finished: Iterable[StoredShard], facts: Mapping[str, Any]) -> None:
    """Make a table of finished shards, by hard link or copy, or by name in a bucket; the manifest comes last."""
    unseal(folder)
    shards = []
    for number, stored in enumerate(finished):
        if stored.shard.store:
            shards.append(stored.shard)
        else:
            files.link_or_copy(stored.path, folder / part_name(number))
            shards.append(replace(stored.shard, file=part_name(number)))
    files.sync_folder(folder)
    seal(folder, shards, facts)
