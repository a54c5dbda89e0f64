"""What the tables of `prepare` were made from, so that a change is noticed before hours are spent on what they were.

The record lies in the work folder: it speaks of the tables that this machine has prepared, not of those that DVC put
in their place.
"""

from pathlib import Path
from typing import Any

from muki_pipeline.blocks import Source
from muki_pipeline.config import Prepare
from muki_pipeline.corpus.readers import local_files
from muki_pipeline.errors import MukiError
from muki_pipeline.freshness import CORPUS
from muki_pipeline.layout import MAKE_CORPUS, Layout
from muki_pipeline.models import locations
from muki_pipeline.store import files
from muki_pipeline.store.keys import file_digest
from muki_pipeline.store.table import MANIFEST

_RECORD = "prepared.json"
Facts = dict[str, str | int]


def begin_record(layout: Layout) -> None:
    """Tell that tables are about to be written: after a kill they may be of two preparations."""
    before = tables_now(layout)
    try:
        record = _record(layout)
    except MukiError:  # damaged: it is written anew
        record = {}
    files.write_json(layout.work / _RECORD, record | {"before": before, "mixed": _is_mixed(record, before), "half": ""})


def record_corpus(layout: Layout) -> None:
    """Tell that the corpus is written and other tables are not."""
    files.write_json(layout.work / _RECORD, _record(layout) | {"half": tables_now(layout)[CORPUS]})


def _record(layout: Layout) -> dict[str, Any]:
    path = layout.work / _RECORD
    return files.read_json(path, MAKE_CORPUS) if files.exists(path) else {}


def _is_mixed(record: dict[str, Any], tables: dict[str, str]) -> bool:
    """Whether these tables are those that a killed run left behind, and not what DVC has put in their place."""
    if record.get("tables") == tables:
        return False
    if (before := record.get("before", tables)) == tables:
        return bool(record.get("mixed"))
    if record["half"]:
        return bool(record["half"] == tables.get(CORPUS))
    return {**tables, CORPUS: ""} == {**before, CORPUS: ""}  # killed after the corpus's last rename


def write_record(settings: Prepare, read: dict[str, dict[str, Facts]], layout: Layout) -> None:
    """Tell what they were made from, after all are written.

    Args:
        settings: How.
        read: See `sources_now`; as they were before they were read.
        layout: Where they lie.
    """
    content = {"settings": _told(settings), "sources": read, "tables": tables_now(layout)}
    files.write_json(layout.work / _RECORD, content)


def sources_now(settings: Prepare, layout: Layout) -> dict[str, dict[str, Facts]]:
    """The facts of each file of each source on this disk, by names that a moved project keeps."""
    found = {source.source: _files(source, layout.root) for source in settings.sources}
    return {name: {each: _facts(path) for each, path in paths.items()} for name, paths in found.items()}


def tables_now(layout: Layout) -> dict[str, str]:
    """A SHA-256 of each table that `prepare` writes, as far as it is there."""
    paths = {CORPUS: layout.corpus / MANIFEST, "test": layout.test, "gold": layout.corpus_gold}
    return {name: file_digest(path) for name, path in paths.items() if files.exists(path)}


def changed_sources(settings: Prepare, layout: Layout) -> list[str]:
    """The files that have changed, appeared or vanished since the tables that lie here were made from their sources.

    Raises:
        MukiError: They were made with other settings, or by a run that was killed.
    """
    record, tables, where = _record(layout), tables_now(layout), str(layout.corpus)
    if _is_mixed(record, tables):
        raise MukiError("prepare was interrupted, so tables of two runs may lie here", where=where, fix=MAKE_CORPUS)
    if record.get("tables") != tables:
        return []
    made, now = record["settings"], _told(settings)
    if changed := [f"prepare.{name}" for name in now if made.get(name) != now[name]]:
        what = f"was made with another {', '.join(changed)} than params.yaml's"
        raise MukiError(what, where=where, fix=MAKE_CORPUS)
    found = []
    for source in settings.sources:
        read, there = record["sources"].get(source.source, {}), _files(source, layout.root)
        if there:  # whoever has the corpus needs its source no more
            found += [name for name in sorted({*read, *there}) if not _is_same(read.get(name), there.get(name))]
    return found


def _files(source: Source, root: Path) -> dict[str, Path]:
    """The files of a source that can be read; none of one on the hub, or that is gone."""
    try:
        paths = [path for path in local_files(source.source, root) or [] if files.is_readable(path)]
    except MukiError:
        return {}
    if locations.local(source.source, root) is not None:
        return {source.source: paths[0]} if paths else {}
    return {str(path.relative_to(root) if path.is_relative_to(root) else path): path for path in paths}


def _facts(path: Path) -> Facts:
    found = path.stat()
    return {"size": found.st_size, "modified": found.st_mtime_ns, "sha256": file_digest(path)}


def _is_same(read: Facts | None, path: Path | None) -> bool:
    """Whether a file is as it was; its content is read only where its size is the same and its time is not."""
    if read is None or path is None:
        return False
    found = path.stat()
    if found.st_size != read["size"]:
        return False
    return found.st_mtime_ns == read["modified"] or file_digest(path) == read["sha256"]


def _told(settings: Prepare) -> dict[str, Any]:
    return settings.model_dump(mode="json")
