"""Folders: scratch, replaced as a whole, and sealed with a digest of every file."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from muki_pipeline.errors import MukiError
from muki_pipeline.store.files import link_or_copy, make_folder, read_json, remove, sync_folder, write_json
from muki_pipeline.store.keys import file_digest

SEAL, _WEIGHTS = "sha256.json", ".safetensors"
CARD = "README.md"
"""The one file of a sealed folder that its owner may write on."""
MOVED = "%s was changed after it was saved; what lay there is in %s now"
"""A warning, of the folder and of where `set_aside` has moved it."""


@contextmanager
def scratch_folder(folder: Path) -> Iterator[Path]:
    """An empty folder for intermediate files, removed at the end; leftovers of a killed run are removed first."""
    remove([folder])
    try:
        yield make_folder(folder)
    finally:
        remove([folder])


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """Build a folder's new content beside it; sealed, it takes the old folder's place when everything is written.

    A kill between the two renames leaves the old content in `.NAME.old`; the next call puts it back first.
    """
    unfinished, old = (folder.with_name(f".{folder.name}.{what}") for what in ("unfinished", "old"))
    if old.exists() and not folder.exists():
        old.rename(folder)
    remove([unfinished, old])
    try:
        yield make_folder(unfinished)
        seal_folder(unfinished)
    except BaseException:
        with suppress(OSError):
            remove([unfinished])
        raise
    if folder.exists():
        folder.rename(old)
    unfinished.rename(folder)
    sync_folder(folder.parent)
    remove([old])


def set_aside(folder: Path, kept: Path) -> Path | None:
    """Move a folder away that somebody has changed since it was sealed: what is there now is not ours to remove.

    Returns:
        Where it lies now, beside `kept`; None where there is no need.
    """
    if not folder.exists() or is_sealed(folder):
        return None
    numbered = (kept.with_name(f"{folder.name}-changed-{number}") for number in count(1))
    moved = next(path for path in numbered if not path.exists())
    shutil.move(folder, make_folder(moved.parent) / moved.name)  # the work folder may lie on another disk
    return moved


def bring_back(moved: Path | None, folder: Path) -> None:
    """Undo `set_aside`, unless something else lies there now."""
    if moved is not None and not folder.exists():
        shutil.move(moved, folder)


def cache(folder: Path, cached: Path) -> None:
    """Keep a sealed folder, and mark it as used last; see `copy` and `oldest`."""
    if not is_sealed(cached) or _state(cached) != _state(folder):
        copy(folder, cached)
    os.utime(cached)


def oldest(kept: Path, stay: int) -> list[Path]:
    """What is in a folder of cached ones besides those that were used last, files of older versions included."""
    used = sorted(subfolders(kept, "*"), key=lambda path: -path.stat().st_mtime_ns)
    return [*used[stay:], *(path for path in kept.glob("*") if path.is_file())]


def _state(folder: Path) -> dict[str, str]:
    """The digests of what a seal lists, as it lists them, and of the card, which it does not."""
    card = folder / CARD
    return read_json(folder / SEAL, "") | ({CARD: file_digest(card)} if card.exists() else {})


def copy(source: Path, target: Path) -> None:
    """Copy a sealed folder; the copy takes the target's place when it is whole.

    Weights are hard links where that can be. What an editor may change in place is not: both would change.
    """
    with replacing_folder(target) as unfinished:
        copy_files(source, unfinished)


def copy_files(source: Path, target: Path) -> None:
    """Copy the files of a sealed folder, its seal left out; see `copy`."""
    for path in source.rglob("*"):
        if path.is_file() and path.name != SEAL:
            copied = target / path.relative_to(source)
            make_folder(copied.parent)
            if path.suffix == _WEIGHTS:
                link_or_copy(path, copied)
            else:
                shutil.copyfile(path, copied)


def check_replaceable(folder: Path, mark: str, what: str) -> None:
    """Refuse to replace a folder that this program did not write.

    Args:
        folder: What is to be replaced; a new one is fine.
        mark: A file that every folder of its kind has.
        what: What such a folder is, for the message.

    Raises:
        MukiError: It is there, and lacks that file or the seal; or it lies in a sealed folder, say the student's.
    """
    if inside := [parent for parent in folder.resolve().parents if (parent / SEAL).exists()]:
        what = f"lies in {inside[0]}, which must stay as it was written"
        raise MukiError(what, where=str(folder), fix="Name a folder elsewhere")
    if folder.exists() and not ((folder / mark).exists() and is_sealed(folder)):
        fix = "Name a new folder: the whole folder would be replaced"
        raise MukiError(f"is there already, and is not {what}", where=str(folder), fix=fix)


def subfolders(folder: Path, pattern: str) -> list[Path]:
    """The folders in a folder whose names match; none where it does not exist."""
    return sorted(path for path in folder.glob(pattern) if path.is_dir())


def seal_folder(folder: Path) -> None:
    """Mark a folder that a library has written as complete: the digest of every file but its card, written last."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
    write_json(folder / SEAL, _digests(folder))


def is_sealed(folder: Path) -> bool:
    """Whether a folder was sealed and every file is still as it was then."""
    try:
        return read_json(folder / SEAL, "") == _digests(folder)
    except (MukiError, OSError):  # killed before the seal, or damaged
        return False


def _digests(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != SEAL)
    paths = sorted(path for path in files if path != folder / CARD)
    return {str(path.relative_to(folder)): file_digest(path) for path in paths}
