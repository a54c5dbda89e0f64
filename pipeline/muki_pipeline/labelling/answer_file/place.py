"""A file of answers as messages name it."""

from pathlib import Path
from typing import NamedTuple

from muki_pipeline.errors import MukiError


class Place(NamedTuple):
    """Whose file it is, and where it lies.

    Attributes:
        teacher: The teacher's name.
        path: The file.
    """

    teacher: str
    path: Path

    def key(self, setting: str) -> str:
        """A setting of this teacher, as params.yaml calls it."""
        return f"teachers.{self.teacher}.{setting}"

    def error(self, what: str, fix: str) -> MukiError:
        """What is wrong in the file, and what to do."""
        return MukiError(what, where=str(self.path), fix=fix)
