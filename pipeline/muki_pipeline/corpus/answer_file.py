"""A file of answers before it is read: where it lies, and a digest of it and of how it is read."""

from pathlib import Path

from muki_pipeline.blocks import AnswerFile
from muki_pipeline.errors import MukiError
from muki_pipeline.store.files import expanded
from muki_pipeline.store.keys import canonical_key, file_digest

_NOT_THE_CONTENT = {"answers", "most_unanswered"}
_CODE = 6
"""Raised where the same file gives other labels."""
_NAMED = {"text", "label", "probability"}
"""Columns that are read otherwise where a setting names them, be it by its default."""


def answer_path(settings: AnswerFile, root: Path) -> Path:
    """Where a file of answers lies.

    Raises:
        MukiError: There is none.
    """
    path = root / expanded(settings.answers)
    if not path.is_file():
        raise MukiError("no such file of answers", where=str(path), fix=f"Correct answers; it is relative to {root}")
    return path


def answers_digest(settings: AnswerFile, root: Path) -> str:
    """SHA-256 of a file of answers, and of how it is read.

    Raises:
        MukiError: See `answer_path`.
    """
    read = settings.model_dump(exclude=_NOT_THE_CONTENT) | {"named": sorted(_NAMED & settings.model_fields_set)}
    return canonical_key({"code": _CODE, "file": file_digest(answer_path(settings, root)), "read": read})


def has_changed(settings: AnswerFile, root: Path, digest: str) -> bool:
    """Whether a file of answers, or how it is read, has another digest than that of its labels.

    A clone that has pulled the tables may lack the file; nothing is known of it then.
    """
    is_there = (root / expanded(settings.answers)).is_file()
    return is_there and answers_digest(settings, root) != digest
