"""What a label for texts of no teacher is worth to the student, on CLINC150's out-of-scope queries.

Use: `python -m experiments.unknown_label [--seeds N]` after `python -m experiments.routing.build clinc-unknown`, whose
teachers it asks. The corpus is CLINC150's test set with `oos_test`; students are measured on `val` with the other
out-of-scope queries. Variants: without such texts in the corpus; with them, taught like all others; left out by their
share (`unknown_share`); taught as a label (`unknown_label`); the same by two thirds and five thirds of their share.
"""

import argparse
import json
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from experiments.record import Recorder
from experiments.routing.build import params_of
from experiments.routing.judge import base_of
from experiments.routing.settings import DATA
from muki_pipeline.blocks import Teacher
from muki_pipeline.config import Integrate, Params, StudentSettings
from muki_pipeline.corpus.table import with_ids, write_corpus
from muki_pipeline.embedding.run import embed_corpus
from muki_pipeline.evaluation import metrics
from muki_pipeline.evaluation.predict import open_student, predict_student
from muki_pipeline.labelling.run import label_corpus
from muki_pipeline.layout import Layout, open_golden
from muki_pipeline.setup.settings import batch_of, learning_rate_of
from muki_pipeline.supervision.integrate import integrate
from muki_pipeline.training.student.train import StudentTraining
from muki_stages.terminal import quiet_libraries

BASE = "clinc-unknown"
OTHER = "out of scope"
MAX_LENGTH = 32
KEPT = 0.95


@dataclass(frozen=True)
class Variant:
    """What the student is taught.

    Attributes:
        name: For the table.
        integrate: Changes of the `integrate` block, of a corpus with out-of-scope queries.
        clean: Whether the corpus has none of them.
    """

    name: str
    integrate: dict[str, Any]
    clean: bool = False


def variants(share: float) -> list[Variant]:
    """All variants, for a corpus with such a share of out-of-scope queries."""
    labelled = [
        Variant(f"label, {name}", {"unknown_share": round(factor * share, 3), "unknown_label": OTHER})
        for name, factor in (("true share", 1.0), ("two thirds of it", 2 / 3), ("five thirds of it", 5 / 3))
    ]
    return [
        Variant("clean corpus", {}, clean=True),
        Variant("taught as it is", {}),
        Variant("left out", {"unknown_share": round(share, 3)}),
        *labelled,
    ]


def texts() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Corpus and test set, `text`, `label`; out-of-scope queries have the label `OTHER`."""
    data = json.loads((Path(os.environ["CLINC150"]) / "data_full.json").read_text())
    parts = {"corpus": ("test", "oos_test"), "test": ("val", "oos_train", "oos_val")}
    frames = []
    for names in parts.values():
        pairs = [(text, OTHER if label == "oos" else label) for name in names for text, label in data[name]]
        frames.append(
            pl.DataFrame(pairs, schema=["text", "label"], orient="row").sample(fraction=1, shuffle=True, seed=0)
        )
    return frames[0], frames[1]


def project(corpus: pl.DataFrame, *, clean: bool) -> tuple[Params, Layout]:
    """The corpus as a project of the base's teachers, labelled and embedded."""
    layout = Layout(DATA / f"{BASE}-label{'-clean' if clean else ''}")
    base, trained = base_of(BASE), Layout(DATA / BASE)
    part = with_ids(corpus.filter(pl.col("label") != OTHER) if clean else corpus)
    write_corpus(layout.corpus, part, 2000)
    batch = batch_of(MAX_LENGTH)
    student = StudentSettings(
        model=params_of(base).student.model,
        batch_size=batch,
        learning_rate=learning_rate_of(batch),
        max_length=MAX_LENGTH,
    )
    teachers = {name: Teacher(model=str(trained.teacher(name))) for name in base.teachers}
    params = params_of(base).model_copy(update={"teachers": teachers, "student": student})
    for name in teachers:
        label_corpus(name, teachers[name], params.label, layout)
    embed_corpus(params, layout)
    return params, layout


def train(params: Params, layout: Layout, variant: Variant, seed: int, tested: list[str]) -> tuple[list[str], Any]:
    """A student's labels, and its probabilities of the test texts."""
    import torch

    torch.set_num_threads(1)
    quiet_libraries()
    golden, folder = layout.root / "golden" / variant.name, layout.root / "students" / f"{variant.name} {seed}"
    settings = params.student.model_copy(update={"seed": seed})
    StudentTraining(settings, golden, folder, folder.with_suffix(".work"), layout.root, variant.name).run()
    labels = list(open_golden(golden).facts["labels"])
    return labels, predict_student(open_student(folder, labels), tested, params)


def figures(labels: list[str], probs: Any, gold: list[str]) -> dict[str, float | None]:
    """A student on the test set; familiarity is its highest probability of a teacher's label."""
    is_known = np.array([label != OTHER for label in gold])
    of_teachers = probs[:, [label != OTHER for label in labels]]
    familiarity, answers = of_teachers.max(axis=1), np.array(labels)[probs.argmax(axis=1)]
    border = np.quantile(familiarity[is_known], 1.0 - KEPT)
    right = answers == np.array(gold)
    return {
        "accuracy": float(right.mean()),
        "accuracy_of_known": float(right[is_known].mean()),
        "unknown_found": float(right[~is_known].mean()),
        "known_called_unknown": float((answers[is_known] == OTHER).mean()),
        "left_out": float((familiarity[~is_known] < border).mean()),
        "auroc": metrics.auroc(familiarity, is_known),
    }


def main() -> None:
    """Train the students of every variant and seed, and write what they are worth."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=3)
    seeds = range(parser.parse_args().seeds)
    quiet_libraries()
    recorder = Recorder()
    corpus, test = texts()
    share = float(np.mean(corpus["label"].to_numpy() == OTHER))
    projects = {clean: project(corpus, clean=clean) for clean in (True, False)}
    chosen = variants(share)
    for variant in chosen:
        params, layout = projects[variant.clean]
        params = params.model_copy(update={"integrate": Integrate(**variant.integrate)})
        integrate(params, layout, layout.root / "golden" / variant.name)
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as pool:
        jobs = {
            (variant.name, seed): pool.submit(train, *projects[variant.clean], variant, seed, test["text"].to_list())
            for variant in chosen
            for seed in seeds
        }
        students = [
            {"variant": name, "seed": seed, **figures(*job.result(), test["label"].to_list())}
            for (name, seed), job in jobs.items()
        ]
    values = {
        "corpus": len(corpus),
        "share": share,
        "test": len(test),
        "test_share": float(np.mean(test["label"].to_numpy() == OTHER)),
        "students": students,
    }
    recorder.write("unknown_label", values, seconds=recorder.lap(), seeds=seeds)


if __name__ == "__main__":
    main()
