"""Which texts a person is asked about: a sample of the corpus, or more texts after those that are answered already."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from muki_pipeline.errors import MukiError, shortlist
from muki_pipeline.labels.space import LabelSpace
from muki_pipeline.routing.accuracy import chances, draw
from muki_pipeline.routing.answers import RANDOM, STARVED, read_answer_table

_SEED = 0
_SMALLEST = 0.01
"""Least chance of a further text: where posteriors have changed since the first sample, it may come out as none."""
_SCHEMA = pl.Schema({"row": pl.Int64, "drawn": pl.String, "stands_for": pl.Float64, "answer": pl.String})


@dataclass(frozen=True)
class Pool:
    """What texts are drawn from.

    Attributes:
        rows: Texts of the corpus.
        certainty: `[rows]`, posterior of the chosen teacher; None where there is none.
        starved: Texts that a teacher gives a label which hardly any text is taught as, the most wanted first.
    """

    rows: int
    certainty: NDArray[np.float64] | None
    starved: Sequence[int]


@dataclass(frozen=True)
class Answered:
    """A smaller sample, answered as far as somebody came.

    Attributes:
        texts: `row`, `drawn`, `stands_for`, `answer` of the answered texts.
        random: How many texts were drawn at random, answered or not.
    """

    texts: pl.DataFrame
    random: int


def draw_texts(pool: Pool, count: int) -> pl.DataFrame:
    """`row`, `drawn` (random or starved), `stands_for` (texts of the corpus; null for starved ones), `answer` (empty).

    Most are drawn at random, unsure ones more often; up to a quarter are starved ones, which come first. The random
    ones are in random order: whoever stops before the end has answered a fair part of them.
    """
    most = min(count, pool.rows)
    random = most - min(most // 4, len(pool.starved))
    while True:
        chance = chances(pool.certainty, pool.rows, random)
        at_random = draw(chance, random, _SEED)
        drawn = set(at_random.tolist())
        starved = [row for row in pool.starved if row not in drawn][: most - random]
        if len(starved) + random == most:
            break
        random = most - len(starved)  # some of the starved ones were drawn at random
    stands_for = [None] * len(starved) + (1.0 / chance[at_random]).round(3).tolist()
    kinds = [STARVED] * len(starved) + [RANDOM] * random
    columns = {"row": [*starved, *at_random.tolist()], "drawn": kinds, "stands_for": stands_for, "answer": ""}
    return pl.DataFrame(columns, schema=_SCHEMA)


def draw_further(pool: Pool, count: int, before: Answered) -> pl.DataFrame:
    """The same after a smaller sample: its answered texts first, as they are, then as many others as are wanted.

    Answered and further texts are two samples of one corpus, drawn with chances f·λ and Λ - f·λ: λ and Λ are a text's
    chances in a sample of the smaller and of the larger size, whose random numbers are the same, and f is the part of
    the smaller one that was answered. Weighted by the inverse of their chance, each tells any share by itself, and so
    do both together, however far the further ones are answered. Answered texts keep their weight; the others' have the
    scale at which both sums should be in the ratio of the counts: where all chances are alike, all weights are.

    Raises:
        MukiError: Nothing further is asked for.
    """
    known = len(before.texts)
    if min(count, pool.rows) <= known:
        what = f"asks about {count:,} texts, and {known:,} are answered already"
        raise MukiError(what, where="--texts", fix="Ask about more, or leave out --keep")
    larger = draw_texts(pool, count)
    others = larger.filter(~pl.col("row").is_in(before.texts["row"].to_list()))
    further = others[: min(count, pool.rows) - known]
    random = _count_random(before.texts)
    if not random:
        return pl.concat([before.texts, further])
    chance = chances(pool.certainty, pool.rows, _count_random(larger))
    smaller = chances(pool.certainty, pool.rows, before.random)
    left = np.maximum(chance - random / before.random * smaller, _SMALLEST)
    weights = left.sum() / before.random / left
    is_random = pl.col("drawn") == RANDOM
    stands_for = pl.Series(np.maximum(weights[further["row"].to_numpy()], 1.0).round(3))
    return pl.concat([before.texts, further.with_columns(stands_for=pl.when(is_random).then(stands_for))])


def _count_random(texts: pl.DataFrame) -> int:
    return len(texts.filter(pl.col("drawn") == RANDOM))


def read_answered(path: Path, ids: Sequence[str], label_space: LabelSpace) -> Answered:
    """The answers to a smaller sample.

    Args:
        path: See `read_answer_table`.
        ids: `[rows]`, of the corpus.
        label_space: The union.

    Raises:
        MukiError: See `read_answer_table`; nothing is answered there, or about a text that is not in the corpus.
    """
    table = read_answer_table(path, label_space)
    rows = pl.DataFrame({"id": ids, "row": range(len(ids))}, schema_overrides={"row": pl.Int64})
    found = table.filter(pl.col("answer") != "").join(rows, on="id", how="left", maintain_order="left")
    if found.is_empty():
        raise MukiError("nothing is answered there", where=str(path), fix="Name a file with answers, or none")
    if not (alien := found.filter(pl.col("row").is_null())).is_empty():
        what = f"{len(alien)} of its ids are not in the golden table: {shortlist(alien['id'].to_list())}"
        raise MukiError(what, where=str(path), fix="Name the answers to a smaller sample of this project")
    starved = pl.col("drawn") == STARVED
    texts = found.with_columns(pl.when(~starved).then("stands_for")).select(_SCHEMA.names()).cast(_SCHEMA)
    return Answered(texts, _count_random(table))
