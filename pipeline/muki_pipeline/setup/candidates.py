"""Classifiers that may become teachers: loaded and tried, and the longest texts that they and the student need."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np
from pydantic import ValidationError
from transformers import PreTrainedTokenizerBase

from muki_pipeline.blocks import AnswerFile, Teacher
from muki_pipeline.config import Label
from muki_pipeline.corpus.formats import kind_of
from muki_pipeline.errors import MukiError, describe_fault, refusing
from muki_pipeline.labelling.answer_file.reading import read_answers
from muki_pipeline.labelling.labeller import Labeller
from muki_pipeline.labelling.network.dropout import NoDropoutError
from muki_pipeline.models import locations
from muki_pipeline.models.batching import beginnings
from muki_pipeline.models.teachers import locate
from muki_pipeline.models.tokenizers import ANY_LENGTH
from muki_pipeline.setup.look import FoundTeacher, Lengths
from muki_pipeline.store.files import expanded
from muki_pipeline.training.base import base_reading

AnyKind = TypeVar("AnyKind", Teacher, AnswerFile)
_DROPOUT = 0.1
_SHORTEST, _STEP, _SHARE = 8, 8, 95


def find_teacher(
    name: str,
    model: str,
    root: Path,
    labels: list[str] | None = None,
    settings: Mapping[str, Any] = MappingProxyType({}),
) -> FoundTeacher:
    """Load a classifier, let it answer as `label` will, and read what its settings need to say.

    Args:
        name: The teacher's name.
        model: A folder, `package:DISTRIBUTION/PATH`, or a hub id, pinned as `ID@COMMIT` or at its commit of now; or a
            file of answers.
        root: What relative paths are relative to.
        labels: Its label names, where its config has none.
        settings: More keys of its block.

    Raises:
        MukiError: See `locate`, `Labeller.rehearse` and `read_answers`; the hub does not answer.
    """
    given = {**({"labels": labels} if labels else {}), **settings}
    if (root / expanded(model)).is_file() or is_table(model):
        answers = _block(AnswerFile, name, {"answers": model, **given})
        return FoundTeacher(name, read_answers(name, answers, root).labels, answers)
    teacher = _block(Teacher, name, {**_where(model, root), **given})
    try:
        labeller = _checked(name, teacher, root)
    except NoDropoutError:
        labeller = _checked(name, teacher.model_copy(update={"dropout": _DROPOUT}), root)
    files = labeller.files
    return FoundTeacher(name, files.labels, files.settings, labeller.longest, labeller.tokenizer)


def is_table(model: str) -> bool:
    """Whether a name ends as files of answers do."""
    try:
        return bool(kind_of(Path(model)))
    except MukiError:
        return False


def _block(kind: type[AnyKind], name: str, values: Mapping[str, Any]) -> AnyKind:
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        faults = "; ".join(describe_fault(fault, kind.model_fields) for fault in error.errors())
        raise MukiError(faults, where=f"teacher {name}", fix="docs/settings.md lists every key") from None


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
    name, revision = locations.without_revision(model, root)
    return {"model": name, "revision": revision if locations.is_commit(revision) else _commit(name, revision or None)}


def _commit(model: str, revision: str | None) -> str:
    """The newest commit of a model on the hub, or that of a branch or tag."""
    from huggingface_hub import HfApi

    what = "there is no such folder here, and the hub does not tell the commit of a model of this name"
    with refusing(what, where=model, fix="Correct the path, or name a commit: ID@COMMIT"):
        return str(HfApi().model_info(model, revision=revision).sha)


def token_lengths(tokenizer: PreTrainedTokenizerBase, texts: list[str], longest: int) -> np.ndarray:
    """Tokens of each text; a text far beyond `longest` counts as a little more than it."""
    return np.array([len(ids) for ids in tokenizer(beginnings(tokenizer, texts, longest), verbose=False)["input_ids"]])


def fitting_length(
    teachers: Sequence[FoundTeacher], texts: list[str], student: PreTrainedTokenizerBase | None = None
) -> int:
    """The tokens that 95 % of the texts have at most, in the teacher that needs most, and no more than all can read.

    Where all are files of answers, which read nothing, it is as the student reads; without its tokenizer `Label`'s own.
    """
    limit = min((teacher.longest for teacher in teachers if teacher.longest is not None), default=ANY_LENGTH)
    tokenizers = [each.tokenizer for each in teachers if each.tokenizer is not None]
    if not tokenizers and student is not None:
        tokenizers = [student]
    if not tokenizers:
        return Label().max_length
    needed = max(np.percentile(token_lengths(each, texts, limit), _SHARE) for each in tokenizers)
    return int(min(max(-(-needed // _STEP) * _STEP, _SHORTEST), limit))


def fitting_lengths(
    teachers: Sequence[FoundTeacher], texts: list[str], student: Mapping[str, str], root: Path
) -> Lengths:
    """As `fitting_length`, and for the student no more than the model that it starts from can read."""
    limit, tokenizer = base_reading(student["model"], student.get("revision"), root)
    length = fitting_length(teachers, texts, tokenizer)
    return Lengths(length, length if limit is None else min(length, limit))
