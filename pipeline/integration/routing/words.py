"""A text's words as a view of which label it has: naive Bayes with soft counts (Nigam et al. 2000)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

Floats = NDArray[np.floating]

FOLDS = 5
_MOST_WORDS = 30_000
_RAREST = 2
_SMOOTHING = 0.01
_UNSPACED = r"^[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]|^\w{20,}$"
"""Runs of letters that are no single word: scripts without spaces, and whatever is longer than words are."""
_GRAMS = (2, 3, 4)


@dataclass(frozen=True)
class BagsOfWords:
    """TF-IDF of texts, sparse, each text's entries of Euclidean length 1.

    Attributes:
        rows: `[entries]`, which text.
        columns: `[entries]`, which word.
        weights: `[entries]`.
        texts: Number of texts.
    """

    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    weights: NDArray[np.float64]
    texts: int


class WordIndex:
    """The words and pairs of words that texts have in common, with their inverse document frequencies.

    Args:
        texts: A sample of the corpus; a word must occur in two of its texts.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        counted = _count(texts).group_by("word").len("texts").filter(pl.col("texts") >= _RAREST)
        self.table = (
            counted.sort(["texts", "word"], descending=[True, False])
            .head(_MOST_WORDS)
            .select(
                "word",
                column=pl.int_range(pl.len(), dtype=pl.Int64),
                idf=((1.0 + len(texts)) / (1.0 + pl.col("texts"))).log() + 1.0,
            )
        )

    def bags(self, texts: Sequence[str]) -> BagsOfWords:
        """TF-IDF of some texts; words that the sample does not have are ignored."""
        entries = _count(texts).join(self.table, on="word").sort("row", "column")
        entries = entries.with_columns(weight=(1.0 + pl.col("times").log()) * pl.col("idf"))
        entries = entries.with_columns(pl.col("weight") / pl.col("weight").pow(2).sum().sqrt().over("row"))
        return BagsOfWords(
            entries["row"].to_numpy(), entries["column"].to_numpy(), entries["weight"].to_numpy(), len(texts)
        )


def _count(texts: Sequence[str]) -> pl.DataFrame:
    """`row`, `word` (one word, two that follow each other, or a few characters), `times`."""
    words = pl.Series("words", list(texts), dtype=pl.String).str.to_lowercase().str.extract_all(r"\w+")
    pairs = words.list.eval(pl.concat_str(pl.element(), pl.element().shift(-1), separator=" "))
    rows = pl.int_range(len(texts), dtype=pl.Int64, eager=True)
    single, double = (
        pl.DataFrame({"row": rows, "word": column}).explode("word").drop_nulls() for column in (words, pairs)
    )
    unspaced = pl.col("word").str.contains(_UNSPACED)
    return pl.concat([single, double, _grams(single.filter(unspaced))]).group_by("row", "word").len("times")


def _grams(runs: pl.DataFrame) -> pl.DataFrame:
    """Every few characters that follow each other, for runs of letters without spaces."""
    characters = runs.select("row", word=pl.col("word").str.split(""))
    grams = [
        characters.select(
            "row",
            word=pl.col("word").list.eval(pl.concat_str([pl.element().shift(-step) for step in range(length)])),
        )
        for length in _GRAMS
    ]
    return pl.concat(grams).explode("word").drop_nulls()


class WordView:
    """Naive Bayes per label with soft counts; a text is judged by the counts of the other folds, never by its own.

    Args:
        bags: Texts.
        folds: `[texts]`, which fold each text is in.
        targets: `[texts, labels]`, each text's distribution over the labels.
        words: Number of words in the index.
    """

    def __init__(self, bags: BagsOfWords, folds: NDArray[np.intp], targets: Floats, words: int) -> None:
        labels = targets.shape[1]
        cells = folds[bags.rows] * words + bags.columns  # [entries], which fold and word
        counts = np.empty((FOLDS * words, labels), dtype=np.float32)
        for label in range(labels):
            counts[:, label] = np.bincount(cells, bags.weights * targets[bags.rows, label], FOLDS * words)
        by_fold = counts.reshape(FOLDS, words, labels)
        others = by_fold.sum(axis=0) - by_fold
        np.maximum(others, 0.0, out=others)  # a difference of equal sums may be a rounding below 0
        others += _SMOOTHING
        if words:
            others /= others.sum(axis=1, keepdims=True)
        self._log_likelihoods = np.log(others)  # [folds, words, labels]

    def __call__(self, bags: BagsOfWords, folds: NDArray[np.intp]) -> NDArray[np.float64]:
        """Log p(words | label) of texts, `[texts, labels]`."""
        return _sum_rows(self._log_likelihoods, bags, folds)


def _sum_rows(table: NDArray[np.float32], bags: BagsOfWords, folds: NDArray[np.intp]) -> NDArray[np.float64]:
    """Sum over each text's words of weight times `table[fold, word]`, `[texts, labels]`."""
    labels = table.shape[2]
    sums = np.zeros((bags.texts, labels))
    if not len(bags.rows):
        return sums
    starts = np.flatnonzero(np.diff(bags.rows, prepend=-1))
    for begin in range(0, len(starts), _BLOCK):
        first = starts[begin]
        last = starts[begin + _BLOCK] if begin + _BLOCK < len(starts) else len(bags.rows)
        part = slice(first, last)
        rows = bags.rows[part]
        entries = table[folds[rows], bags.columns[part]] * bags.weights[part, None]  # [entries, labels]
        inner = starts[begin : begin + _BLOCK] - first
        sums[rows[inner]] = np.add.reduceat(entries, inner, axis=0)
    return sums


_BLOCK = 256
"""Texts whose words are looked up at a time: the entries of a block fit the cache."""
