"""The golden table in numbers: margins, weights, who teaches what, and the texts on which teachers conflict most."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from muki_pipeline.config import Params
from muki_pipeline.labels.tables import open_labelled_corpus
from muki_pipeline.layout import Layout, open_golden
from muki_pipeline.reporting.report.texts import cut
from muki_pipeline.routing.confidence import softmax
from muki_pipeline.store.columns import matrix
from muki_pipeline.supervision.strategies import MARGIN_FLOOR

CONFLICTS = 20
"""Texts shown on which teachers conflict most."""
_LONG = 900
"""Bytes of each."""


@dataclass(frozen=True)
class Answer:
    """One teacher's answer to one text.

    Attributes:
        teacher: Its name.
        score: Its score.
        label: Its most likely label; None where it has no answer.
        probability: That label's probability, None too.
    """

    teacher: str
    score: float
    label: str | None
    probability: float | None


@dataclass(frozen=True)
class Conflict:
    """A text on which teachers conflict.

    Attributes:
        text: The text.
        margin: Best score minus second-best score.
        answers: What each teacher says.
    """

    text: str
    margin: float
    answers: list[Answer]


@dataclass(frozen=True)
class GoldenSummary:
    """A golden table in numbers.

    Attributes:
        margins: `[rows that teach]`.
        weights: `[rows]`.
        taught: `[labels, teachers]`, for how many texts that are taught as a label each teacher has the best score.
        by_gold: The same by the texts' gold label, `[teachers]` each, without texts that are taught as the label for
            texts of no teacher; empty where they are not known.
        conflicts: The texts with the smallest margins; none with a single teacher.
    """

    margins: NDArray[np.float32]
    weights: NDArray[np.float32]
    taught: NDArray[np.int64]
    by_gold: Mapping[str, NDArray[np.int64]]
    conflicts: list[Conflict]


def golden_summary(params: Params, layout: Layout, gold: Mapping[str, str]) -> GoldenSummary:
    """Read every row once.

    Args:
        params: All settings.
        layout: Where the tables lie.
        gold: True label by id, empty where they are not known.
    """
    golden = open_golden(layout.golden)
    teachers = list(golden.facts["teachers"])
    numbers = {name: number for number, name in enumerate(teachers)}
    has_unknown = golden.facts["integrate"].get("unknown_label") is not None
    unknown = len(golden.facts["labels"]) - 1 if has_unknown else None
    taught = np.zeros((len(golden.facts["labels"]), len(teachers)), dtype=np.int64)
    by_gold: dict[str, NDArray[np.int64]] = {}
    margins, weights = [], []
    worst: list[tuple[float, int, int]] = []
    for number, shard in enumerate(golden.shards):
        table = shard.read(["id", "target", "weight", "teacher", "margin"])
        chosen = [numbers[name] for name in table["teacher"].to_pylist()]
        teaches, best = table["weight"].to_numpy() > 0, matrix(table["target"]).argmax(axis=1)
        np.add.at(taught, (best, chosen), teaches.astype(np.int64))
        if gold:
            names = [gold.get(text_id) for text_id in table["id"].to_pylist()]  # those of `prepare.extra` have none
            by_teacher = pl.DataFrame({"name": pl.Series(names, dtype=pl.String), "teacher": chosen})
            by_teacher = by_teacher.filter(pl.Series(teaches & (best != unknown)) & pl.col("name").is_not_null())
            for name, teacher, count in by_teacher.group_by("name", "teacher").len().iter_rows():
                by_gold.setdefault(name, np.zeros(len(teachers), dtype=np.int64))[teacher] += count
        margin = table["margin"].to_numpy()
        margins.append(margin[teaches])  # teachers who have no answer do not conflict
        weights.append(table["weight"].to_numpy())
        rows = np.flatnonzero(teaches)
        least = rows[np.argsort(margin[rows], kind="stable")[:CONFLICTS]]
        worst = sorted([*worst, *((float(margin[row]), number, int(row)) for row in least)])[:CONFLICTS]
    return GoldenSummary(
        np.concatenate(margins),
        np.concatenate(weights),
        taught,
        by_gold,
        list(_conflicting(params, layout, worst)) if len(teachers) > 1 else [],
    )


def _conflicting(params: Params, layout: Layout, worst: Sequence[tuple[float, int, int]]) -> Iterator[Conflict]:
    """The texts at (margin, shard, row), with every teacher's answer."""
    corpus = open_labelled_corpus(params, layout)
    shards = open_golden(layout.golden).shards
    for margin, number, row in worst:
        table = shards[number].read(["text", "scores"])
        scores = matrix(table["scores"])[row]
        label_shards = corpus.tables.read(number, ["logits"])
        answers = []
        for (name, labels), score, label_shard in zip(corpus.tables.labels.items(), scores, label_shards, strict=True):
            probs = softmax(label_shard.logits[row])
            said = (None, None) if label_shard.is_silent[row] else (labels[int(probs.argmax())], float(probs.max()))
            answers.append(Answer(name, float(score), *said))
        yield Conflict(cut(table["text"][row].as_py(), _LONG), max(margin - MARGIN_FLOOR, 0.0), answers)
