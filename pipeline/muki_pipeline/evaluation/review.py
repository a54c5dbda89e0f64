"""An audit by a person: texts to check, and how often the right teacher is chosen by the answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from muki_pipeline.config import POSTERIORS, Params
from muki_pipeline.errors import MukiError
from muki_pipeline.labels.space import LabelSpace
from muki_pipeline.labels.tables import LabelledCorpus, open_labelled_corpus
from muki_pipeline.layout import Layout, open_golden
from muki_pipeline.routing.accuracy import Share, chances, draw, missing, share_of_random, share_right
from muki_pipeline.routing.answers import RANDOM, STARVED, none_answer, read_answer_table
from muki_pipeline.routing.confidence import softmax
from muki_pipeline.store.table import Table
from muki_pipeline.supervision.summary import Starved, read_summary

_SEED = 0


@dataclass(frozen=True)
class Review:
    """What a person's answers say.

    Attributes:
        rows: Texts in the file.
        answered: Those of them with an answer.
        unknown: Answered texts whose label no teacher knows.
        judged: Texts with a known label that were drawn at random.
        right: The share of the corpus whose right teacher is chosen, by these.
        missing: About how many more answers make its interval as narrow as `accuracy.WIDTH`.
    """

    rows: int
    answered: int
    unknown: int
    judged: int
    right: Share
    missing: int


@dataclass(frozen=True)
class Sample:
    """Texts for a person to check.

    Attributes:
        table: `id`, `text`, a column `teacher NAME` for each teacher with its most likely label, `chosen` (teacher),
            `drawn` (random or starved), `stands_for` (how many texts a random one stands for), and `answer`, empty.
        answers: For each teacher, its answer to each of them: `label`, `united` (its name in the union), `probability`.
        certainty: `[corpus]`, posterior of the chosen teacher of every text; None where scores are no posterior.
        rows: `[texts]`, where they lie in the corpus.
        label_space: The union, and each teacher's columns of it.
    """

    table: pl.DataFrame
    answers: dict[str, pl.DataFrame]
    certainty: NDArray[np.float64] | None
    rows: NDArray[np.intp]
    label_space: LabelSpace


def sample_review(params: Params, layout: Layout, texts: int) -> Sample:
    """Texts of the golden table for a person to check.

    Up to a quarter are texts that a teacher gives a label which hardly any text is taught as, in turns of these labels.
    The others are drawn at random, because only they tell the accuracy; where scores are a posterior, unsure texts more
    often (see `routing/accuracy.py`).

    Args:
        params: All settings.
        layout: Where the tables lie.
        texts: How many; all if there are fewer.

    Raises:
        MukiError: There is no golden table, or a table is damaged.
    """
    corpus = open_labelled_corpus(params, layout)
    table = open_golden(layout.golden)
    golden = table.frame(["id", "text", "teacher", "margin", "scores"])
    answers = {name: _answers(corpus, number) for number, name in enumerate(corpus.teachers)}
    starved = [each.label for each in _starved(table)]
    by_margin = np.argsort(golden["margin"].to_numpy(), kind="stable").tolist()
    named = _in_turns(starved, by_margin, [each["united"].to_list() for each in answers.values()])[: texts // 4]
    others = np.setdiff1d(np.arange(len(golden)), named)
    certainty = _certainty(params, golden)
    count = min(texts - len(named), len(others))
    chance = chances(None if certainty is None else certainty[others], len(others), count)
    at_random = draw(chance, count, _SEED)
    rows = np.concatenate([np.array(named, dtype=np.intp), others[at_random]])
    given = {name: each[rows] for name, each in answers.items()}
    columns = [
        each.select(pl.format("{} ({})", "label", pl.col("probability").map_elements("{:.2f}".format, pl.String)))
        .to_series()
        .alias(f"teacher {name}")
        for name, each in given.items()
    ]
    sample = golden[rows].select(
        "id",
        "text",
        *columns,
        chosen="teacher",
        drawn=pl.Series([STARVED] * len(named) + [RANDOM] * count, dtype=pl.String),
        stands_for=pl.Series([None] * len(named) + (1.0 / chance[at_random]).round(3).tolist(), dtype=pl.Float64),
        answer=pl.lit(""),
    )
    return Sample(sample, given, certainty, rows, corpus.label_space)


def read_review(params: Params, layout: Layout, path: Path) -> Review:
    """Hold a person's answers against the golden table.

    Args:
        params: All settings.
        layout: Where the tables lie.
        path: A file that `sample_review` made, with answers.

    Raises:
        MukiError: The file lacks a column, an id is not the corpus's, an answer is no label of the union, or no random
            text has an answer.
    """
    corpus = open_labelled_corpus(params, layout)
    answers = read_answer_table(path, corpus.label_space)
    answered = answers.filter(pl.col("answer") != "")
    golden = open_golden(layout.golden).frame(["id", "teacher", "scores"])
    joined = answered.join(golden, on="id", how="inner")
    if len(joined) != len(answered):
        what = f"{len(answered) - len(joined)} of its ids are not in the golden table"
        raise MukiError(what, where=str(path), fix="Make a new sample with muki-pipeline review")
    labelled = joined.filter(pl.col("answer") != none_answer(corpus.label_space))
    is_right = pl.Series("right", _is_right(labelled, corpus.label_space, corpus.teachers), dtype=pl.Boolean)
    judged = labelled.with_columns(is_right).filter(pl.col("drawn") == RANDOM)
    if judged.is_empty():
        raise MukiError("no random text has an answer", where=str(path), fix="Answer those with drawn = random first")
    certainty = _certainty(params, golden)
    if certainty is None:
        found = share_of_random(int(judged["right"].sum()), len(judged))
    else:
        asked = judged["scores"].arr.max().to_numpy().astype(np.float64)
        found = share_right(certainty, asked, judged["right"].to_numpy())
    return Review(
        rows=len(answers),
        answered=len(answered),
        unknown=len(answered) - len(labelled),
        judged=len(judged),
        right=found,
        missing=missing(found, len(judged)),
    )


def _certainty(params: Params, golden: pl.DataFrame) -> NDArray[np.float64] | None:
    """`[rows]`, posterior of the chosen teacher; None where scores are no posterior."""
    if params.integrate.scorer not in POSTERIORS:
        return None
    return golden["scores"].arr.max().to_numpy().astype(np.float64)


def _answers(corpus: LabelledCorpus, teacher: int) -> pl.DataFrame:
    """A teacher's most likely `label` of every text, its name in the union (`united`) and its `probability`."""
    labels = np.array(list(corpus.tables.labels.values())[teacher])
    united = np.array(corpus.label_space.labels)[corpus.label_space.columns[teacher]]
    parts = []
    for number in range(len(corpus.shards)):
        probs = softmax(corpus.tables.read(number, ["logits"])[teacher].logits)
        best = probs.argmax(axis=1)
        given = {"label": labels[best].tolist(), "united": united[best].tolist(), "probability": probs.max(axis=1)}
        parts.append(pl.DataFrame(given))
    return pl.concat(parts)


def _starved(golden: Table) -> tuple[Starved, ...]:
    """See `RoutingSummary.starved`; none where scores are no posterior."""
    summary = read_summary(golden.facts["routing"])
    return () if summary is None else summary.starved


def _in_turns(labels: Sequence[str], rows: Sequence[int], answers: Sequence[list[str]]) -> list[int]:
    """Of some rows those that a teacher gives one of the labels: the first of each label, then the second of each."""
    found = [[row for row in rows if any(given[row] == label for given in answers)] for label in labels]
    in_turns = [row for turn in zip_longest(*found) for row in turn if row is not None]
    return list(dict.fromkeys(in_turns))


def _is_right(rows: pl.DataFrame, label_space: LabelSpace, teachers: list[str]) -> list[bool]:
    """Whether the chosen teacher knows the answer's label."""
    labels = {label: number for number, label in enumerate(label_space.labels)}
    return [
        bool(label_space.known[labels[answer], teachers.index(teacher)])
        for answer, teacher in rows.select("answer", "teacher").iter_rows()
    ]
