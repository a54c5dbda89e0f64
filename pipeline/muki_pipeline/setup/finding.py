"""Something that `doctor` tried."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "error"]


@dataclass(frozen=True)
class Finding:
    """Something that was tried.

    Attributes:
        level: How bad it is.
        where: The block, teacher or file.
        what: What was found.
        fix: What to do about it; empty where nothing needs doing.
    """

    level: Level
    where: str
    what: str
    fix: str = ""
