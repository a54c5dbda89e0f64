"""Students of several rules and sizes of the corpus, beside those of gold labels.

Use: `python -m experiments.curves NAME [SIZE ...] [--seeds N] [--epochs N] [--rules RULE ...]`; `--layers` and
`--precision` are the student's.

NAME is one of the routing suite's bases. Its teachers are trained once; each size is a project of its own in
`experiments/curves-data/NAME`. What is finished is not done again. Printed, and written to results/students/, are the
students, the paired tests, and how often the teachers' averaged weights are right, which nobody trains.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import torch

from experiments.record import Recorder, slug
from experiments.routing.build import MODEL
from experiments.routing.settings import ROOT, Base, Texts, bases, hwu, hwu_test, newsgroups, orange, reuters_r8
from muki_pipeline.blocks import Source, Teacher
from muki_pipeline.config import Compare, Embed, Integrate, Label, Params, Prepare, StudentSettings, TeacherTraining
from muki_pipeline.corpus.table import with_ids, write_corpus
from muki_pipeline.embedding.run import embed_corpus
from muki_pipeline.evaluation.comparison.compare import compare
from muki_pipeline.evaluation.gold_labels import read_test
from muki_pipeline.labelling.run import label_corpus
from muki_pipeline.labels.tables import open_labelled_corpus
from muki_pipeline.layout import Layout
from muki_pipeline.models.averaging import average
from muki_pipeline.models.loaded.student import LoadedStudent
from muki_pipeline.models.students import StudentFiles
from muki_pipeline.models.teachers import locate
from muki_pipeline.progress import SILENT
from muki_pipeline.store.columns import arrow
from muki_pipeline.store.table import write_table_file
from muki_pipeline.training.teacher.train import fine_tune
from muki_stages.terminal import quiet_libraries

DATA = Path(__file__).parent / "curves-data"
RULES = ["gate", "muki", "supervised"]
TESTS: dict[Callable[[], Texts], Callable[[], pl.DataFrame]] = {
    hwu: hwu_test,
    newsgroups: lambda: orange("20newsgroups-test"),
    reuters_r8: lambda: orange("reuters-r8-test"),
}
MOST_TESTED = 2000


@dataclass(frozen=True)
class Split:
    """The texts of a base.

    Attributes:
        corpus: `text`, `label`, in random order; a smaller corpus is its beginning.
        test: `text`, `label`.
    """

    corpus: pl.DataFrame
    test: pl.DataFrame


@dataclass(frozen=True)
class Result:
    """What one size gave.

    Attributes:
        students: See `Comparison`.
        tests: See `Comparison`.
        averaged: Accuracy of the teachers' averaged weights.
        texts: How many texts students are trained on (`corpus`) and tested with (`test`).
    """

    students: pl.DataFrame
    tests: pl.DataFrame
    averaged: float
    texts: dict[str, int]


def split(base: Base) -> Split:
    """The texts whose labels the base's teachers know; those without a test set lend a quarter of the corpus."""
    known = pl.col("label").is_in([label for labels in base.teachers.values() for label in labels])
    corpus = base.texts().corpus.filter(known).sample(fraction=1, shuffle=True, seed=1)
    if base.texts in TESTS:
        return Split(corpus, TESTS[base.texts]().filter(known)[:MOST_TESTED])
    end = len(corpus) * 3 // 4
    return Split(corpus[:end], corpus[end:])


def run(base: Base, size: int, seeds: int, rules: list[str], student: dict[str, Any]) -> Result:
    """Students of one size; `student` is what they have besides the defaults."""
    texts = split(base)
    teachers = DATA / base.name / "teachers"
    for name, labels in base.teachers.items():
        training = TeacherTraining(
            model=MODEL,
            layers=base.layers,
            steps=base.steps,
            batch_size=32,
            learning_rate=base.learning_rate,
            max_length=base.max_length,
            seed=base.seed,
        )
        if not (teachers / name / "config.json").exists():
            fine_tune(training, labels, base.texts().train, teachers / name, ROOT)
    layout = Layout(DATA / base.name / str(size))
    if not (layout.corpus / "manifest.json").exists():
        corpus = with_ids(texts.corpus[:size])
        write_table_file(layout.corpus_gold, arrow(corpus.select("id", "label")))
        write_table_file(layout.test, arrow(with_ids(texts.test).select("id", "text", "label")))
        write_corpus(layout.corpus, corpus, 1000)
    params = Params(
        prepare=Prepare(corpus=Source(source="none.csv", text="text")),
        teachers={name: Teacher(model=str(teachers / name)) for name in base.teachers},
        label=Label(passes=8, max_length=base.max_length, features=not {"cfl", "dfa"}.isdisjoint(rules)),
        embed=Embed(max_length=base.max_length),
        integrate=Integrate(),
        student=StudentSettings(model=MODEL, batch_size=16, learning_rate=2e-4, max_length=base.max_length, **student),
        compare=Compare(rules=rules, seeds=list(range(seeds))),
    )
    for name in base.teachers:
        label_corpus(name, params.teachers[name], params.label, layout)
    embed_corpus(params, layout)
    compared = compare(params, layout)
    counts = {"corpus": len(texts.corpus[:size]), "test": len(texts.test)}
    return Result(compared.students, compared.tests, _averaged_accuracy(params, layout), counts)


def _averaged_accuracy(params: Params, layout: Layout) -> float:
    """How often the average of the teachers' weights, with their heads side by side, is right on the test texts."""
    corpus = open_labelled_corpus(params, layout)
    teachers = [locate(name, teacher, layout.root) for name, teacher in params.teachers.items()]
    space = corpus.label_space
    model, tokenizer = average(teachers, space.labels, [each.tolist() for each in space.columns])
    length = params.label.max_length
    merged = LoadedStudent(model, tokenizer, length, torch.device("cpu"), StudentFiles(Path(), tuple(space.labels)))
    test = read_test(layout, space)
    logits = merged.logits(test.texts["text"].to_list(), SILENT.begin("average", len(test.texts), "texts"))
    return float((logits.argmax(axis=1) == test.columns).mean())


def main() -> None:
    """Run the sizes of one base; write and print what came out."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("sizes", nargs="*", type=int, default=[250, 1000])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=lambda given: given if given == "auto" else int(given), default="auto")
    parser.add_argument("--rules", nargs="+", default=RULES)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--precision", choices=["auto", "float32", "bfloat16"], default="auto")
    chosen = parser.parse_args()
    training = {name: getattr(chosen, name) for name in ("epochs", "layers", "precision")}
    quiet_libraries()
    [base] = [base for base in bases() if base.name == chosen.name]
    recorder = Recorder()
    for size in chosen.sizes:
        result = run(base, size, chosen.seeds, chosen.rules, training)
        changed = [f"{key}-{value}" for key, value in training.items() if value != parser.get_default(key)]
        name = slug(" ".join([base.name, str(size), *changed]))
        about = {"base": base.name, "texts": result.texts, "settings": training}
        recorder.write_students(f"students/{name}", result.students, result.tests, **about)
        averaged = {**about, "accuracy": result.averaged}
        recorder.write(f"averages/{name}", averaged, seconds=None, seeds=[base.seed])
        show(f"{base.name} {size} {training}", result)


def show(title: str, result: Result) -> None:
    """A line for each rule, for each pair of rules, and for the averaged weights."""
    means = result.students.group_by("rule", maintain_order=True).agg(
        pl.col("accuracy").mean(),
        pl.col("accuracy").std().alias("deviation"),
        pl.col("macro_f1", "expected_calibration_error", "supervision_accuracy", "seconds").mean(),
    )
    for row in (*means.to_dicts(), *result.tests.to_dicts(), {"average of the teachers": result.averaged}):
        print(title, row, flush=True)


if __name__ == "__main__":
    main()
