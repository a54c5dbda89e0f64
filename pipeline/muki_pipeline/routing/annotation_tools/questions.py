"""What every annotation tool is given of a review, and what it gives back."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import polars as pl
from pydantic import TypeAdapter, ValidationError

from muki_pipeline.errors import MukiError, shortlist

Entry = TypeVar("Entry")
QUESTION = "Which label is right?"
TEACHERS_SAY = "Teachers say:"
ANSWER = "answer"
"""The question's name in every tool, and the column of its answers."""
EXPORT_AGAIN = "Export the texts that muki-pipeline review --export has written, with all that it wrote of them"


@dataclass(frozen=True)
class Question:
    """A text that a person is asked about. Nothing in it says which teacher was chosen.

    Attributes:
        id: The text's.
        text: What a person reads.
        teachers: What the teachers say of it, in words.
        drawn: `random` or `starved`.
        stands_for: How many texts a random one stands for; None for others.
        sample: The digest of the sample.
    """

    id: str
    text: str
    teachers: str
    drawn: str
    stands_for: float | None
    sample: str


@dataclass(frozen=True)
class Given:
    """What one person has answered about a text; the other attributes are its question's.

    Attributes:
        answer: Empty where there is none.
    """

    id: str
    drawn: str
    stands_for: float | None
    sample: str
    answer: str


def parsed(kind: type[Entry], content: Sequence[object], where: str) -> list[Entry]:
    """The entries of an exported file.

    Args:
        kind: What each of them must hold.
        content: What the file holds.
        where: The file.

    Raises:
        MukiError: An entry does not hold that.
    """
    try:
        return TypeAdapter(list[kind]).validate_python(content)  # type: ignore[valid-type]  # known at run time only
    except ValidationError as error:
        fault = error.errors()[0]
        number, *keys = fault["loc"]
        what = f"entry {int(number) + 1} is none of a review ({'.'.join(map(str, keys))}: {fault['msg']})"
        raise MukiError(what, where=where, fix=EXPORT_AGAIN) from None


def agreed(given: Iterable[Given], unsure: str, where: str) -> pl.DataFrame:
    """`id`, `drawn`, `stands_for`, `answer`: a row for each text, whose answer is empty if nobody is sure.

    Args:
        given: What each person has answered.
        unsure: The answer of a person who is not sure, which counts as none.
        where: The file.

    Raises:
        MukiError: Two people disagree, or the texts are of several samples, so that they stand for other numbers of
            texts.
    """
    questions: dict[str, Given] = {}
    answers: dict[str, list[str]] = {}
    for each in given:
        questions.setdefault(each.id, each)
        answers.setdefault(each.id, [])
        if each.answer not in ("", unsure, *answers[each.id]):
            answers[each.id].append(each.answer)
    of_samples = {each.sample: text_id for text_id, each in questions.items()}
    if len(of_samples) > 1:
        what = f"holds answers to {len(of_samples)} samples: {shortlist([*of_samples.values()])} are of different ones"
        raise MukiError(what, where=where, fix="Export each review by itself, and read one of them")
    if divided := [text_id for text_id, said in answers.items() if len(said) > 1]:
        first = f"{divided[0]!r} is {' and '.join(map(repr, answers[divided[0]]))}"
        what = f"people disagree about {len(divided)} texts: {first}"
        raise MukiError(what, where=where, fix="Settle on one answer for each, and export again")
    rows = [(each.id, each.drawn, each.stands_for, "".join(answers[each.id])) for each in questions.values()]
    schema = {"id": pl.String, "drawn": pl.String, "stands_for": pl.Float64, ANSWER: pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")
