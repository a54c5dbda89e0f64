"""Names in settings and files: of teachers, labels and columns."""

import unicodedata
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field


def comparable(name: str) -> str:
    """A label's name in Unicode's composed form (NFC) without outer blanks: names that look the same are one label."""
    return unicodedata.normalize("NFC", name).strip()


TeacherName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
LabelName = Annotated[str, AfterValidator(comparable), Field(min_length=1)]
Column = Annotated[str, BeforeValidator(lambda name: str(name) if type(name) is int else name)]
"""The name of a column, or its number."""
