"""What more unlabelled texts buy: a student's accuracy against the size of its corpus, beside gold labels.

Use: `python -m experiments.curves NAME [SIZE ...] [--seeds N] [--epochs N] [--rules RULE ...]`

NAME is one of the routing suite's bases. Its teachers are trained once; each size is a project of its own in
`experiments/curves-data/NAME`. What is finished is not done again.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl

from experiments.routing.build import MODEL
from experiments.routing.settings import ROOT, Base, bases, hwu, hwu_test
from pipeline.config import (
    Compare,
    Embed,
    Integrate,
    Label,
    Params,
    Prepare,
    Source,
    Student,
    Teacher,
    TeacherTraining,
)
from pipeline.corpus.table import with_ids, write_corpus
from pipeline.embedding.run import embed_corpus
from pipeline.evaluation.comparison.compare import compare
from pipeline.labelling.run import label_corpus
from pipeline.layout import Layout
from pipeline.tables.columns import arrow
from pipeline.tables.shards import write_table_file
from pipeline.training.teacher import train_teacher
from stages.terminal import quiet_libraries

DATA = Path(__file__).parent / "curves-data"
RULES = ["gate", "muki", "supervised"]


@dataclass(frozen=True)
class Split:
    """The texts of a base.

    Attributes:
        corpus: `text`, `label`, in random order; a smaller corpus is its beginning.
        test: `text`, `label`.
    """

    corpus: pl.DataFrame
    test: pl.DataFrame


def split(base: Base) -> Split:
    """A base's texts; those that come without a test set lend a quarter of the corpus."""
    corpus = base.texts().corpus.sample(fraction=1, shuffle=True, seed=1)
    if base.texts is hwu:
        return Split(corpus, hwu_test())
    kept = len(corpus) * 3 // 4
    return Split(corpus[:kept], corpus[kept:])


def run(base: Base, size: int, seeds: int, epochs: int | Literal["auto"], rules: list[str]) -> pl.DataFrame:
    """Students of one size."""
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
        )
        if not (teachers / name / "config.json").exists():
            train_teacher(training, labels, base.texts().train, teachers / name, ROOT)
    layout = Layout(DATA / base.name / str(size))
    if not (layout.corpus / "manifest.json").exists():
        corpus = with_ids(texts.corpus[:size])
        write_table_file(layout.corpus_gold, arrow(corpus.select("id", "label")))
        write_table_file(layout.test, arrow(with_ids(texts.test).select("id", "text", "label")))
        write_corpus(layout.corpus, corpus, 1000)
    params = Params(
        prepare=Prepare(corpus=Source(source="none.csv", text="text")),
        teachers={name: Teacher(model=str(teachers / name), watch=str(teachers / name)) for name in base.teachers},
        label=Label(passes=8, max_length=base.max_length, features=not {"cfl", "dfa"}.isdisjoint(rules)),
        embed=Embed(max_length=base.max_length),
        integrate=Integrate(),
        student=Student(
            model=MODEL, layers=3, epochs=epochs, batch_size=16, learning_rate=2e-4, max_length=base.max_length
        ),
        compare=Compare(rules=rules, seeds=list(range(seeds))),
    )
    for name in base.teachers:
        label_corpus(name, params.teachers[name], params.label, layout)
    embed_corpus(params, layout)
    return compare(params, layout).students.with_columns(size=pl.lit(size))


def main() -> None:
    """Run the sizes of one base and print a line for each size and rule."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("sizes", nargs="*", type=int, default=[250, 1000])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=lambda given: given if given == "auto" else int(given), default="auto")
    parser.add_argument("--rules", nargs="+", default=RULES)
    chosen = parser.parse_args()
    quiet_libraries()
    [base] = [base for base in bases() if base.name == chosen.name]
    for size in chosen.sizes:
        students = run(base, size, chosen.seeds, chosen.epochs, chosen.rules)
        for row in (
            students.group_by("rule", maintain_order=True)
            .agg(
                pl.col("accuracy").mean(),
                pl.col("accuracy").std().alias("deviation"),
                pl.col("supervision_accuracy", "seconds").mean(),
            )
            .to_dicts()
        ):
            print(base.name, size, chosen.epochs, row, flush=True)


if __name__ == "__main__":
    main()
