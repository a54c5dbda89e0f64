"""How much a test set's texts differ from the corpus's, beside how much the corpus differs from itself."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl

from muki_pipeline.corpus.table import corpus_shards, read_corpus_shard
from muki_pipeline.evaluation.gold_labels import MAKE_TEST
from muki_pipeline.layout import Layout
from muki_pipeline.routing.gate.words import UNSPACED_SCRIPTS
from muki_pipeline.store.table import read_table_file

_MOST_TEXTS = 10_000
"""Texts of the corpus that are read."""
_RUN = rf"[{UNSPACED_SCRIPTS}]+|[\w--[{UNSPACED_SCRIPTS}]]+"


@dataclass(frozen=True)
class Drift:
    """Corpus and test set compared. Words of scripts without spaces are pairs of characters.

    Attributes:
        median_words_corpus: Median number of words in a text of the corpus.
        median_words_test: The same of the test set.
        new_words_corpus: Share of the words in one half of the corpus that the other half does not have.
        new_words_test: Share of the words in the test set that this other half does not have: higher where the test
            set is about other things.
    """

    median_words_corpus: float
    median_words_test: float
    new_words_corpus: float
    new_words_test: float


def measure_drift(layout: Layout) -> dict[str, Any]:
    """The block `drift`: the test set against evenly spaced texts of the corpus; empty where there are no words."""
    shards = corpus_shards(layout.corpus)
    step = -(-sum(shard.rows for shard in shards) // _MOST_TEXTS)
    texts: list[str] = []
    first = 0
    for shard in shards:
        texts += read_corpus_shard(shard, ["text"])["text"].to_pylist()[-first % step :: step]
        first += shard.rows
    test = read_table_file(layout.test, ["text"], MAKE_TEST)["text"].to_pylist()
    found = drift(texts, test)
    return {} if found is None else {"drift": asdict(found)}


def drift(corpus: Sequence[str], test: Sequence[str], seed: int = 0) -> Drift | None:
    """Compare the words of two sets of texts; None where one of them has none.

    Args:
        corpus: Texts.
        test: Texts.
        seed: Of the halves.
    """
    own, other = words_of(corpus), words_of(test)
    order = np.random.default_rng(seed).permutation(len(own))
    half = [own[row] for row in order[: len(own) // 2]]
    rest = [own[row] for row in order[len(own) // 2 :]]
    known = {word for words in half for word in words}
    within, across = _share_new(rest, known), _share_new(other, known)
    if not known or within is None or across is None:
        return None
    return Drift(
        median_words_corpus=float(np.median([len(words) for words in own])),
        median_words_test=float(np.median([len(words) for words in other])),
        new_words_corpus=within,
        new_words_test=across,
    )


def words_of(texts: Sequence[str]) -> list[list[str]]:
    """The words of each text, lower case; in scripts without spaces every two characters that follow each other."""
    runs = pl.Series(list(texts), dtype=pl.String).str.to_lowercase().str.extract_all(_RUN)
    found = pl.DataFrame({"row": range(len(runs)), "run": runs}).explode("run").drop_nulls("run")
    is_unspaced = pl.col("run").str.contains(rf"^[{UNSPACED_SCRIPTS}]")
    words: list[list[str]] = [[] for _ in texts]
    for row, run, has_pairs in found.select("row", "run", is_unspaced.alias("has_pairs")).iter_rows():
        words[row] += [run[at : at + 2] for at in range(max(len(run) - 1, 1))] if has_pairs else [run]
    return words


def _share_new(texts: Sequence[Sequence[str]], known: set[str]) -> float | None:
    words = [word for text in texts for word in text]
    return sum(word not in known for word in words) / len(words) if words else None
