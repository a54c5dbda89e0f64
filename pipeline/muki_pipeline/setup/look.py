"""What a project can be made of: the teachers and texts that are there, and how they fit together."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import chain, combinations, count
from pathlib import Path

import numpy as np
import polars as pl
from transformers import PreTrainedTokenizerBase

from muki_pipeline.config import Label, Teacher
from muki_pipeline.corpus.dialects import TEXT_NAMES
from muki_pipeline.errors import MukiError, brief, shortlist
from muki_pipeline.labelling.labeller import Labeller
from muki_pipeline.labelling.network.dropout import NoDropoutError
from muki_pipeline.models import locations
from muki_pipeline.models.batching import beginnings
from muki_pipeline.models.teachers import TeacherFiles, locate
from muki_pipeline.models.tokenizers import ANY_LENGTH
from muki_pipeline.names import comparable
from muki_pipeline.training.base import base_limit

SAMPLE = 2_000
_DROPOUT = 0.1
_ALIKE = 0.9
_SHORTEST, _STEP, _SHARE = 8, 8, 95


@dataclass(frozen=True)
class FoundTeacher:
    """A classifier that can be a teacher.

    Attributes:
        files: Its files and labels.
        longest: Longest text that it reads, in tokens; None where it reads any length.
        tokenizer: Its tokenizer.
    """

    files: TeacherFiles
    longest: int | None
    tokenizer: PreTrainedTokenizerBase


@dataclass(frozen=True)
class LabelPair:
    """Labels of two teachers that may mean the same.

    Attributes:
        teachers: The two teachers.
        labels: The label of each.
    """

    teachers: tuple[str, str]
    labels: tuple[str, str]

    @property
    def is_shared(self) -> bool:
        """Whether the names are equal, so that they become one label."""
        return comparable(self.labels[0]) == comparable(self.labels[1])


def teacher_names(models: Sequence[str]) -> list[str]:
    """A name for each model: the last part of its path or id that says something, made unique."""
    names: list[str] = []
    for model in models:
        last = _telling_part(model.partition("@")[0].rstrip("/")).lower()
        plain = re.sub(r"[^a-z0-9_-]+", "-", last).strip("-_")[:60] or "teacher"
        candidates = chain([plain], (f"{plain}-{number}" for number in count(2)))
        names.append(next(name for name in candidates if name not in names))
    return names


def _telling_part(model: str) -> str:
    """Of `…/models--OWNER--NAME/snapshots/COMMIT` the name, of `NAME/checkpoint-500` too."""
    parts = model.split("/")
    if parts[-1].startswith("checkpoint-") and len(parts) > 1:
        return parts[-2]
    if len(parts) > 2 and parts[-2] == "snapshots":
        return parts[-3].rpartition("--")[2]
    return parts[-1]


def find_teacher(name: str, model: str, root: Path, labels: list[str] | None = None) -> FoundTeacher:
    """Load a classifier, let it answer as `label` will, and read what its settings need to say.

    Args:
        name: The teacher's name.
        model: A folder, `package:DISTRIBUTION/PATH`, or a hub id, pinned as `ID@COMMIT` or at its newest commit.
        root: What relative paths are relative to.
        labels: Its label names, where its config has none.

    Raises:
        MukiError: See `locate` and `Labeller.rehearse`; the hub does not answer.
    """
    teacher = Teacher(**_where(model, root), labels=labels)
    try:
        labeller = _checked(name, teacher, root)
    except NoDropoutError:
        labeller = _checked(name, teacher.model_copy(update={"dropout": _DROPOUT}), root)
    return FoundTeacher(labeller.files, labeller.longest, labeller.tokenizer)


def _checked(name: str, teacher: Teacher, root: Path) -> Labeller:
    settings = Label(max_length=_SHORTEST, device="cpu", dtype="float32")
    labeller = Labeller(locate(name, teacher, root), settings)
    labeller.rehearse()
    return labeller


def _where(model: str, root: Path) -> dict[str, str]:
    """`model` and, for a hub id, `revision`."""
    if locations.local(model, root) is not None or model.startswith(locations.PACKAGE):
        return {"model": model}
    if locations.looks_like_path(model):
        raise MukiError("no such folder", where=model, fix="Name a folder saved by save_pretrained, or a hub id")
    name, _, revision = model.partition("@")
    return {"model": name, "revision": revision or _newest(name)}


def _newest(model: str) -> str:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        commit = HfApi().model_info(model).sha
    except (OSError, ValueError, HfHubHTTPError) as error:
        what = f"is no folder here, and the hub does not tell its newest commit ({brief(error)})"
        raise MukiError(what, where=model, fix="Correct the path, or name a commit: ID@COMMIT") from None
    return str(commit)


def text_columns(frame: pl.DataFrame) -> list[str]:
    """Columns that may hold the texts: those with a usual name if there are any, else all with strings."""
    strings = [name for name, kind in frame.schema.items() if kind == pl.String]
    return [name for name in strings if name.lower() in TEXT_NAMES] or strings


def label_columns(frame: pl.DataFrame, labels: Sequence[str]) -> list[str]:
    """Columns of which most values are labels that some teacher knows."""
    found, known = [], {comparable(label) for label in labels}
    for name in frame.columns:
        column = frame[name].drop_nulls()
        if (column.dtype == pl.String or column.dtype.is_integer()) and len(column):
            values = [comparable(value) for value in column.cast(pl.String)]
            if sum(value in known for value in values) > len(values) / 2:
                found.append(name)
    return found


def show_columns(frame: pl.DataFrame) -> str:
    """Each column with its first value, for a question or an error."""
    shown = frame.head(1).to_dict(as_series=False)
    return ", ".join(f"{name} ({shortlist([str(value)[:40] for value in values])})" for name, values in shown.items())


def sample(texts: pl.Series, count: int = SAMPLE) -> list[str]:
    """Texts evenly spread over a column."""
    rows = np.unique(np.linspace(0, len(texts) - 1, min(count, len(texts))).astype(int))
    return [str(text) for text in texts.gather(rows)]


def token_lengths(tokenizer: PreTrainedTokenizerBase, texts: list[str], longest: int) -> np.ndarray:
    """Tokens of each text; a text far beyond `longest` counts as a little more than it."""
    return np.array([len(ids) for ids in tokenizer(beginnings(tokenizer, texts, longest), verbose=False)["input_ids"]])


def fitting_length(teachers: Sequence[FoundTeacher], texts: list[str]) -> int:
    """The tokens that 95 % of the texts have at most, in the teacher that needs most, and no more than all can read."""
    limit = min((teacher.longest for teacher in teachers if teacher.longest is not None), default=ANY_LENGTH)
    needed = max(np.percentile(token_lengths(each.tokenizer, texts, limit), _SHARE) for each in teachers)
    return int(min(max(-(-needed // _STEP) * _STEP, _SHORTEST), limit))


@dataclass(frozen=True)
class Lengths:
    """The longest text in tokens, for each kind of network.

    Attributes:
        teachers: That the teachers read.
        student: That the student and the neutral encoder read.
    """

    teachers: int
    student: int


def fitting_lengths(
    teachers: Sequence[FoundTeacher], texts: list[str], student: Mapping[str, str], root: Path
) -> Lengths:
    """As `fitting_length`, and for the student no more than the model that it starts from can read."""
    length = fitting_length(teachers, texts)
    limit = base_limit(student["model"], student.get("revision"), root)
    return Lengths(length, length if limit is None else min(length, limit))


def pairs_of_labels(labels: Mapping[str, Sequence[str]]) -> list[LabelPair]:
    """Labels of different teachers with equal names, or with names that differ in little."""
    found = []
    for one, other in combinations(labels, 2):
        for mine in labels[one]:
            for theirs in labels[other]:
                if _alike(comparable(mine), comparable(theirs)):
                    found.append(LabelPair((one, other), (mine, theirs)))
    return found


def _alike(one: str, other: str) -> bool:
    first_words, second_words = (re.sub(r"[\W_]+", " ", name).strip().lower() for name in (one, other))
    if one == other or not (first_words and second_words):
        return one == other
    if first_words == second_words:
        return True
    matcher = SequenceMatcher(None, first_words, second_words)
    return matcher.quick_ratio() >= _ALIKE and matcher.ratio() >= _ALIKE
