"""Label Studio: a review as tasks and a labelling interface, and its exports JSON, JSON-MIN and CSV read back.

The tasks hold no `predictions`: Label Studio fills the page in with one of them, so that a person would confirm one
teacher instead of choosing. What the teachers say is shown in words, as on the page of `review --html`.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any
from xml.etree import ElementTree as Xml

import polars as pl
from pydantic import BaseModel

from muki_pipeline.errors import MukiError
from muki_pipeline.routing.annotation_tools.questions import (
    ANSWER,
    QUESTION,
    TEACHERS_SAY,
    Given,
    Question,
    parsed,
)

HOW = "Paste labelling.xml as the labelling interface, import tasks.json, and export the answers as JSON"
TEXT_ID = "text_id"
"""The text's id; in exports `id` is the task's."""


class _Data(BaseModel):
    """Of a task, what its question is known by."""

    text_id: str
    drawn: str
    stands_for: float | None
    sample: str


class _Result(BaseModel):
    """A control's value."""

    from_name: str | None = None
    value: dict[str, Any] = {}


class _Annotation(BaseModel):
    """What one person did with a task; skipped tasks are `was_cancelled`."""

    was_cancelled: bool = False
    result: list[_Result]


class _Task(BaseModel):
    """A task of the export called JSON."""

    data: _Data
    annotations: list[_Annotation]


class _Row(_Data):
    """A row of the exports called JSON-MIN and CSV: a task with one person's answer."""

    answer: str | None = None


def files(questions: Sequence[Question], choices: Sequence[str]) -> dict[str, str]:
    """The content of `tasks.json` and `labelling.xml`.

    Args:
        questions: The sample.
        choices: The possible answers.
    """
    tasks = [
        {
            "data": {
                TEXT_ID: each.id,
                "text": each.text,
                "teachers": each.teachers,
                "drawn": each.drawn,
                "stands_for": each.stands_for,
                "sample": each.sample,
            }
        }
        for each in questions
    ]
    return {"tasks.json": json.dumps(tasks, ensure_ascii=False, indent=1), "labelling.xml": _interface(choices)}


def _interface(choices: Sequence[str]) -> str:
    view = Xml.Element("View")
    Xml.SubElement(view, "Text", name="text", value="$text")
    Xml.SubElement(view, "Header", value=TEACHERS_SAY)
    Xml.SubElement(view, "Text", name="teachers", value="$teachers")
    Xml.SubElement(view, "Header", value=QUESTION)
    Xml.SubElement(view, "Filter", name="filter", toName=ANSWER, placeholder="Find a label")
    page = Xml.SubElement(view, "Choices", name=ANSWER, toName="text", choice="single", required="true")
    for choice in choices:
        Xml.SubElement(page, "Choice", value=choice)
    Xml.indent(view)
    return Xml.tostring(view, encoding="unicode") + "\n"


def is_export(entry: dict[str, Any]) -> bool:
    """Whether an entry of a JSON file is a task of the export called JSON."""
    return {"data", "annotations"} <= entry.keys()


def answers(content: Sequence[object], where: str) -> Iterator[Given]:
    """The answers in an export called JSON; a task that nobody has answered or that was skipped has an empty one.

    Args:
        content: The tasks.
        where: The file.

    Raises:
        MukiError: A task is none of a review, or a person has chosen several labels.
    """
    for task in parsed(_Task, content, where):
        finished = [each for each in task.annotations if not each.was_cancelled]
        for answer in [_choice(each, task.data.text_id, where) for each in finished] or [""]:
            yield _given(task.data, answer)


def _choice(annotation: _Annotation, text_id: str, where: str) -> str:
    chosen = [
        str(choice)
        for result in annotation.result
        if result.from_name == ANSWER
        for choice in result.value.get("choices", [])
    ]
    if len(chosen) > 1:
        what = f"the text {text_id!r} has several answers of one person: {', '.join(chosen)}"
        raise MukiError(what, where=where, fix='Leave one, and keep choice="single" in the labelling interface')
    return "".join(chosen)


def row_answers(table: pl.DataFrame, where: str) -> Iterator[Given]:
    """The answers in an export called JSON-MIN or CSV.

    Args:
        table: Its rows; the column `answer` is missing where nobody has answered.
        where: The file.

    Raises:
        MukiError: A row is none of a review.
    """
    # Empty cells of a CSV file are nulls.
    rows = table.with_columns(pl.col(pl.String).replace("", None)).to_dicts()
    for row in parsed(_Row, rows, where):
        yield _given(row, row.answer or "")


def _given(data: _Data, answer: str) -> Given:
    return Given(data.text_id, data.drawn, data.stands_for, data.sample, answer)
