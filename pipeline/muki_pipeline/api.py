"""The pipeline from Python: `student = merge(["models/a", "models/b"], texts).train()`.

Every step takes and gives polars frames, stores what it made in the project's folder, and does not make it again. The
folder is one that the command line understands.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from muki_pipeline import config
from muki_pipeline.blocks import place_of_teacher
from muki_pipeline.config import Params
from muki_pipeline.corpus.formats import read_table
from muki_pipeline.corpus.prepare import prepare
from muki_pipeline.corpus.readers import check_filled
from muki_pipeline.embedding.run import embed_corpus
from muki_pipeline.errors import MukiError, chosen, refusing
from muki_pipeline.labelling.run import label_corpus
from muki_pipeline.layout import MAKE_CORPUS, Layout, make_labels, open_golden
from muki_pipeline.models.loaded.student import LoadedStudent, load_student
from muki_pipeline.progress import SILENT, Progress
from muki_pipeline.setup import candidates, look
from muki_pipeline.setup.settings import Texts, render, student_model, write_project
from muki_pipeline.store.columns import parquet_bytes
from muki_pipeline.store.files import exists, expanded, make_folder, write_bytes
from muki_pipeline.store.table import Table
from muki_pipeline.supervision.integrate import integrate
from muki_pipeline.training.student.train import train_student

_TEXTS = "texts.parquet"


@dataclass(frozen=True)
class Student:
    """A trained student.

    Attributes:
        folder: Where it lies, ready for `transformers.pipeline` and the hub.
    """

    folder: Path
    _loaded: LoadedStudent

    @property
    def labels(self) -> tuple[str, ...]:
        """Its label names."""
        return self._loaded.labels

    def predict(self, texts: Sequence[str]) -> pl.DataFrame:
        """`text`, `label`, `probability` of each text, and `probabilities` of all labels in the order of `labels`."""
        probs = self._loaded.probs(list(texts))
        best = probs.argmax(axis=1)
        return pl.DataFrame(
            {
                "text": pl.Series(list(texts), dtype=pl.String),
                "label": pl.Series([self.labels[column] for column in best], dtype=pl.String),
                "probability": probs[np.arange(len(best)), best],
                "probabilities": pl.Series(probs, dtype=pl.Array(pl.Float32, len(self.labels))),
            }
        )


@dataclass(frozen=True)
class Project:
    """A project: teachers, texts and settings in a folder. Each step makes what it needs first.

    Attributes:
        params: All settings.
        layout: Where the tables lie.
        progress: Counts the work.
    """

    params: Params
    layout: Layout
    progress: Progress = SILENT

    @classmethod
    def load(cls, params_file: str | Path, progress: Progress = SILENT) -> "Project":
        """A project that is there already.

        Raises:
            MukiError: Its settings are wrong; see `config.load`.
        """
        return cls(*config.load(Path(params_file)), progress)

    def corpus(self) -> pl.DataFrame:
        """The texts: `id`, `text`."""
        prepare(self.params.prepare, self.layout)
        return Table.open(self.layout.corpus, MAKE_CORPUS).frame()

    def label(self, teacher: str) -> pl.DataFrame:
        """A teacher's labels of every text; columns as in docs/tables.md.

        Raises:
            MukiError: See `label_corpus`.
        """
        settings = chosen(teacher, self.params.teachers, "teacher", "params.yaml, teachers")
        prepare(self.params.prepare, self.layout)
        label_corpus(teacher, settings, self.params.label, self.layout, self.progress)
        return Table.open(self.layout.labels(teacher), make_labels(teacher)).frame()

    def golden(self) -> pl.DataFrame:
        """The supervision of every text; columns as in docs/tables.md.

        Raises:
            MukiError: See `integrate`.
        """
        self._integrate()
        return open_golden(self.layout.golden).frame()

    def _integrate(self) -> None:
        prepare(self.params.prepare, self.layout)
        # A fault in a file of answers is told before networks run for hours; of networks, one is in memory at a time.
        for name, settings in (self.params.files_of_answers | self.params.networks).items():
            label_corpus(name, settings, self.params.label, self.layout, self.progress)
        embed_corpus(self.params, self.layout, self.progress)
        integrate(self.params, self.layout, self.layout.golden, self.progress)

    def train(self) -> Student:
        """The student.

        Raises:
            MukiError: See `train_student`.
        """
        self._integrate()
        train_student(self.params, self.layout, self.progress)
        return Student(self.layout.student, load_student(self.layout.student))


def merge(
    models: Sequence[str | Path] | Mapping[str, str | Path],
    texts: Sequence[str] | pl.Series,
    *,
    folder: str | Path = "muki",
    student: str | None = None,
    progress: Progress = SILENT,
) -> Project:
    """A new project in a folder, or the one that is there, if it has these models and texts.

    Args:
        models: Folders or hub ids of fine-tuned classifiers, or files of answers, by name if they should have names of
            their own.
        texts: Unlabelled texts.
        folder: The project's folder; change its params.yaml, and call `Project.load`, for other settings.
        student: The pretrained model of the student; a small sentence encoder by default.
        progress: Counts the work.

    Raises:
        MukiError: A model or a text cannot be used, or the folder belongs to another project.
    """
    root = make_folder(Path(folder).resolve())
    if isinstance(texts, str) or isinstance(models, str | Path):
        raise MukiError("models and texts are lists", where="merge", fix="Put a single one in brackets")
    with refusing("not all texts are strings", where="merge", fix="Leave out what is none, such as NaN"):
        series = pl.Series("text", list(texts), dtype=pl.String)
    if series.is_empty():
        raise MukiError("there are no texts", where="merge", fix="Give some")
    check_filled(series, "texts", "merge", "Leave these texts out")
    paths = [str(model) for model in (models.values() if isinstance(models, Mapping) else models)]
    names = list(models) if isinstance(models, Mapping) else look.teacher_names(paths)
    teachers = [candidates.find_teacher(name, _absolute(path), root) for name, path in zip(names, paths, strict=True)]
    base = student_model(student if student is None else _absolute(student), root)
    lengths = candidates.fitting_lengths(teachers, look.sample(series), base, root)
    pairs = look.pairs_of_labels({each.name: each.labels for each in teachers})
    content = render(Texts(_TEXTS, "text"), None, teachers, lengths, base, pairs)
    params = root / "params.yaml"
    if exists(params):
        is_pinned = ["@" in path for path in paths]
        _check_same(config.load(params)[0], teachers, is_pinned, base if student else {}, root)
        _check_same_texts(series, root)
    else:
        write_bytes(root / _TEXTS, parquet_bytes(series.to_frame()))
        write_project(root, content)
    return Project.load(params, progress)


def _check_same(
    params: Params,
    teachers: Sequence[look.FoundTeacher],
    is_pinned: Sequence[bool],
    student: Mapping[str, str],
    root: Path,
) -> None:
    """Refuse a folder with another project before anything in it is touched.

    Args:
        params: The settings that are there.
        teachers: Those that the caller names.
        is_pinned: For each of them, whether a commit is named; else that of the project will do.
        student: `model` and, where it is named, `revision`; empty where any will do.
        root: The folder.
    """
    there = {name: place_of_teacher(teacher) for name, teacher in params.teachers.items()}
    if there != {each.name: place_of_teacher(each.settings) for each in teachers} or any(
        getattr(each.settings, "revision", None) != getattr(params.teachers[each.name], "revision", None)
        for each, pinned in zip(teachers, is_pinned, strict=True)
        if pinned
    ):
        what = f"belongs to a project with the teachers {there}, or with other commits of them"
        raise MukiError(what, where=str(root), fix="Name another folder, or remove it")
    own = {"model": params.student.model, "revision": params.student.revision}
    if {**own, **student} != own:
        what = f"belongs to a project whose student starts from {own['model']}"
        what += f" at {own['revision']}" if own["revision"] else ""
        raise MukiError(what, where=str(root), fix="Name another folder, or change its params.yaml")


def _check_same_texts(texts: pl.Series, root: Path) -> None:
    path = root / _TEXTS
    if not exists(path) or not read_table(path)["text"].equals(texts):
        fix = f"Name another folder, or write the texts to {path} and call Project.load"
        raise MukiError("belongs to a project with other texts", where=str(root), fix=fix)


def _absolute(model: str) -> str:
    path = expanded(model)
    return str(path.resolve()) if path.exists() else model
