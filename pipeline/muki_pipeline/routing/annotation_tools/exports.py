"""The annotation tools, and the files that they export: which of them wrote a file is seen from its content."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import polars as pl

from muki_pipeline.corpus.dialects import Dialect
from muki_pipeline.corpus.formats import read_table
from muki_pipeline.routing.annotation_tools import argilla, label_studio
from muki_pipeline.routing.annotation_tools.questions import ANSWER, Given, Question, agreed
from muki_pipeline.store.files import read_bytes


class Tool(Protocol):
    """A tool's module."""

    HOW: str
    """What a person does with the files, in words."""

    def files(self, questions: Sequence[Question], choices: Sequence[str]) -> dict[str, str]:
        """The content of the files that the tool loads, by their names."""

    def is_export(self, entry: dict[str, Any]) -> bool:
        """Whether it has exported an entry of a JSON file."""

    def answers(self, content: Sequence[object], where: str) -> Iterator[Given]:
        """What each person has answered, by the entries of such a file."""


TOOLS: Mapping[str, Tool] = MappingProxyType({"argilla": argilla, "label-studio": label_studio})
_COLUMNS = [label_studio.TEXT_ID, "drawn", "stands_for", "sample", ANSWER]


def read_export(path: Path, unsure: str) -> pl.DataFrame | None:
    """The answers that a tool has exported, as `agreed` gives them; None if the file is no tool's export.

    Args:
        path: A file.
        unsure: The answer of a person who is not sure.

    Raises:
        MukiError: The file cannot be read; see `answers` of each tool, and `agreed`.
    """
    where = str(path)
    if path.suffix.lower() == ".json":
        content = _json(path)
        for tool in TOOLS.values():
            if isinstance(content, list) and any(isinstance(each, dict) and tool.is_export(each) for each in content):
                return agreed(tool.answers(content, where), unsure, where)
    table = read_table(path, _COLUMNS, Dialect(header=True))
    if label_studio.TEXT_ID not in table.columns:
        return None
    return agreed(label_studio.row_answers(table, where), unsure, where)


def _json(path: Path) -> object:
    """What a JSON file holds; None where it is no JSON, which `read_table` explains."""
    try:
        return json.loads(read_bytes(path, "Name a file"))
    except ValueError:
        return None
