"""A setting as a project: teachers trained, corpus labelled, embedded and integrated.

It lies in `experiments/rivals/data`, which git ignores. Another size is the same project with another corpus: the work
folder keeps everything that was computed under its key.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from experiments.rivals.settings import E5, MINILM, Setting
from muki_pipeline.blocks import Source, Teacher
from muki_pipeline.config import Embed, Integrate, Label, Params, Prepare, StudentSettings, TeacherTraining
from muki_pipeline.corpus.table import with_ids, write_corpus
from muki_pipeline.embedding.run import embed_corpus
from muki_pipeline.labelling.run import label_corpus
from muki_pipeline.layout import Layout
from muki_pipeline.progress import Progress
from muki_pipeline.setup.settings import batch_of, learning_rate_of
from muki_pipeline.store.columns import arrow
from muki_pipeline.store.table import write_table_file
from muki_pipeline.supervision.integrate import integrate
from muki_pipeline.training.teacher.train import fine_tune

DATA = Path(__file__).parent / "data"
PASSES, SHARD_ROWS = 8, 1000


@dataclass(frozen=True)
class Project:
    """A setting's project, ready for every rule.

    Attributes:
        setting: The setting.
        params: Its settings.
        layout: Where it lies.
    """

    setting: Setting
    params: Params
    layout: Layout


def model_of(name: str) -> str:
    """A pretrained model, as params.yaml names it."""
    return str(Path(os.environ[E5]).resolve()) if name == E5 else name


def train_teachers(setting: Setting, layout: Layout, progress: Progress) -> None:
    """Train the teachers that are not there."""
    texts, batch = setting.texts().train, batch_of(setting.max_length)
    for name, labels in setting.teachers.items():
        training = {
            "model": model_of(setting.models.get(name, MINILM)),
            "steps": setting.steps,
            "batch_size": batch,
            "learning_rate": learning_rate_of(batch),
            "max_length": setting.max_length,
        }
        fine_tune(
            TeacherTraining(**{**training, **setting.training}), labels, texts, layout.teacher(name), DATA, progress
        )


def build(setting: Setting, size: int | None, progress: Progress) -> Project:
    """Make the setting's project, with the first `size` texts of its corpus; all by default."""
    layout, texts = Layout(DATA / setting.name), setting.own_texts()
    train_teachers(setting, layout, progress)
    corpus = with_ids(texts.corpus[:size])
    write_table_file(layout.corpus_gold, arrow(corpus.select("id", "label")))
    write_table_file(layout.test, arrow(with_ids(texts.test).select("id", "text", "label")))
    write_corpus(layout.corpus, corpus, SHARD_ROWS)
    params = params_of(setting, layout)
    for name in params.teachers:
        label_corpus(name, params.teachers[name], params.label, layout, progress)
    embed_corpus(params, layout, progress)
    integrate(params, layout, layout.golden, progress)
    return Project(setting, params, layout)


def params_of(setting: Setting, layout: Layout) -> Params:
    """The settings, as `init` writes them for texts of this length."""
    encoder, batch = model_of(setting.encoder), batch_of(setting.max_length)
    student = {
        "model": encoder,
        "batch_size": batch,
        "learning_rate": learning_rate_of(batch),
        "max_length": setting.max_length,
    }
    return Params(
        prepare=Prepare(corpus=Source(source="none.csv", text="text")),
        teachers={name: Teacher(model=str(layout.teacher(name))) for name in setting.teachers},
        label=Label(passes=PASSES, max_length=setting.max_length, features=True),
        embed=Embed(**{"model": encoder, "max_length": setting.max_length, **setting.embed}),
        integrate=Integrate(aliases=setting.aliases),
        student=StudentSettings(**{**student, **setting.student}),
    )
