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
from muki_pipeline.layout import MAKE_CORPUS, Layout
from muki_pipeline.models import locations
from muki_pipeline.store import files
from muki_pipeline.store.keys import file_digest
from muki_pipeline.store.table import MANIFEST

_RECORD = "prepared.json"


def begin_record(layout: Layout) -> None:
    """Tell that others than those that lie here are written now: after a kill they are of two preparations."""
    files.write_json(layout.work / _RECORD, {"begun": _tables(layout)})


def write_record(settings: Prepare, read: dict[str, dict[str, str]], layout: Layout) -> None:
    """Tell what they were made from, after all are written.

    Args:
        settings: How.
        read: See `sources_now`; as they were before they were read.
        layout: Where they lie.
    """
    content = {"settings": _told(settings), "sources": read, "tables": _tables(layout)}
    files.write_json(layout.work / _RECORD, content)


def sources_now(settings: Prepare, layout: Layout) -> dict[str, dict[str, str]]:
    """For each source that lies on this disk, a SHA-256 of each of its files, by names that a moved project keeps."""
    found = {source.source: _files(source, layout.root) for source in settings.sources}
    return {name: {each: file_digest(path) for each, path in paths.items()} for name, paths in found.items() if paths}


def _files(source: Source, root: Path) -> dict[str, Path]:
    try:
        paths = local_files(source.source, root) or []
    except MukiError:  # whoever has the corpus needs its source no more
        return {}
    if locations.local(source.source, root) is not None:
        [path] = paths
        return {source.source: path}
    return {str(path.relative_to(root) if path.is_relative_to(root) else path): path for path in paths}


def changed_sources(settings: Prepare, layout: Layout) -> list[str]:
    """The files that have changed, came or went since the tables that lie here were made from their sources.

    Raises:
        MukiError: They were made with other settings, or by a run that was killed.
    """
    if not files.exists(path := layout.work / _RECORD):
        return []
    record, tables, where = files.read_json(path, MAKE_CORPUS), _tables(layout), str(layout.corpus)
    if "begun" in record and record["begun"] != tables:
        raise MukiError("prepare was interrupted, so tables of two runs may lie here", where=where, fix=MAKE_CORPUS)
    if record.get("tables") != tables:
        return []
    made, now = record["settings"], _told(settings)
    if changed := [f"prepare.{name}" for name in now if made.get(name) != now[name]]:
        what = f"was made with another {', '.join(changed)} than params.yaml's"
        raise MukiError(what, where=where, fix=MAKE_CORPUS)
    pairs = [(record["sources"].get(name, {}), there) for name, there in sources_now(settings, layout).items()]
    return [name for read, there in pairs for name in sorted({*read, *there}) if read.get(name) != there.get(name)]


def _told(settings: Prepare) -> dict[str, Any]:
    return settings.model_dump(mode="json")


def _tables(layout: Layout) -> dict[str, str]:
    paths = {"corpus": layout.corpus / MANIFEST, "test": layout.test, "gold": layout.corpus_gold}
    return {name: file_digest(path) for name, path in paths.items() if files.exists(path)}
