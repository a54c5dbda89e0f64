"""Argilla 2: a review as a folder for `argilla.Dataset.from_disk`, and what `records.to_json` writes read back.

There are no suggestions, for the reason why Label Studio is given no predictions.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel

from muki_pipeline.routing.annotation_tools.questions import (
    ANSWER,
    QUESTION,
    TEACHERS_SAY,
    Given,
    Question,
    parsed,
)

HOW = "Load the folder with argilla.Dataset.from_disk, and export the answers with dataset.records.to_json"
_COMPLETED = "completed"
"""The status of a record that somebody has submitted. What others hold is a draft or was discarded."""


class _Metadata(BaseModel):
    """What a question is known by, besides its id."""

    drawn: str
    stands_for: float | None = None
    sample: str


class _Response(BaseModel):
    """One person's."""

    value: str | None


class _Record(BaseModel):
    """A record of an export."""

    id: str
    status: str
    metadata: _Metadata
    responses: dict[str, list[_Response]]


def files(questions: Sequence[Question], choices: Sequence[str]) -> dict[str, str]:
    """The content of the folder's files by their names.

    Args:
        questions: The sample.
        choices: The possible answers.
    """
    # An existing dataset of the same name would keep its own settings, so each sample has a name of its own.
    samples = {each.sample for each in questions}
    dataset = {"name": "-".join(["review", *samples]), "allow_extra_metadata": False}
    contents = {
        "records.json": [_record(each) for each in questions],
        ".argilla/dataset.json": dataset,
        ".argilla/settings.json": _settings(choices),
    }
    return {name: json.dumps(content, ensure_ascii=False, indent=1) for name, content in contents.items()}


def _record(question: Question) -> dict[str, Any]:
    weight = {} if question.stands_for is None else {"stands_for": question.stands_for}
    return {
        "id": question.id,
        "fields": {"text": question.text, "teachers": question.teachers},
        "metadata": {"drawn": question.drawn, "sample": question.sample, **weight},
        "suggestions": {},
        "responses": {},
        "vectors": {},
    }


def _settings(choices: Sequence[str]) -> dict[str, Any]:
    fields = {"text": "Text", "teachers": TEACHERS_SAY}
    options = [{"value": choice, "text": choice} for choice in choices]
    metadata = {"drawn": "terms", "sample": "terms", "stands_for": "float"}
    return {
        "guidelines": None,
        "fields": [
            {"name": name, "title": title, "required": True, "settings": {"type": "text", "use_markdown": False}}
            for name, title in fields.items()
        ],
        "questions": [
            {
                "name": ANSWER,
                "title": QUESTION,
                "required": True,
                "settings": {"type": "label_selection", "options": options, "visible_options": len(options)},
            }
        ],
        "metadata": [
            {"name": name, "title": name, "settings": {"type": kind}, "visible_for_annotators": False}
            for name, kind in metadata.items()
        ],
        "vectors": [],
        "allow_extra_metadata": False,
        "distribution": {"strategy": "overlap", "min_submitted": 1},
        "mapping": None,
    }


def is_export(entry: dict[str, Any]) -> bool:
    """Whether an entry of a JSON file is a record."""
    return {"fields", "metadata", "responses"} <= entry.keys()


def answers(content: Sequence[object], where: str) -> Iterator[Given]:
    """The answers in an export; a record that nobody has submitted has an empty one.

    Args:
        content: The records.
        where: The file.

    Raises:
        MukiError: A record is none of a review.
    """
    for record in parsed(_Record, content, where):
        responses = record.responses.get(ANSWER, []) if record.status == _COMPLETED else []
        for answer in [each.value or "" for each in responses] or [""]:
            yield Given(record.id, record.metadata.drawn, record.metadata.stands_for, record.metadata.sample, answer)
