"""A text's words as a view of whose text it is: naive Bayes with soft counts (Nigam et al. 2000)."""

from collections.abc import Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np
import polars as pl
from numpy.typing import NDArray

Floats = NDArray[np.floating]

_MOST_WORDS = 50_000
_RAREST = 2
_SMOOTHING = 0.01
_FOLDS = 5


@dataclass(frozen=True)
class BagsOfWords:
    """TF-IDF of texts, sparse, each text's entries of Euclidean length 1.

    Attributes:
        rows: `[entries]`, which text.
        columns: `[entries]`, which word.
        weights: `[entries]`.
        folds: `[texts]`, a part of the corpus that depends on the text alone.
    """

    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    weights: NDArray[np.float64]
    folds: NDArray[np.intp]

    def half(self, which: int) -> "BagsOfWords":
        """The same texts with every other word of the vocabulary."""
        chosen = self.columns % 2 == which
        return BagsOfWords(self.rows[chosen], self.columns[chosen], self.weights[chosen], self.folds)


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
        folds = np.array([crc32(text.encode()) % _FOLDS for text in texts], dtype=np.intp)
        return BagsOfWords(entries["row"].to_numpy(), entries["column"].to_numpy(), entries["weight"].to_numpy(), folds)


def _count(texts: Sequence[str]) -> pl.DataFrame:
    """`row`, `word` (one word or two that follow each other), `times`."""
    words = pl.Series("words", list(texts), dtype=pl.String).str.to_lowercase().str.extract_all(r"\w+")
    pairs = words.list.eval(pl.concat_str(pl.element(), pl.element().shift(-1), separator=" "))
    rows = pl.int_range(len(texts), dtype=pl.Int64, eager=True)
    both = [pl.DataFrame({"row": rows, "word": each}).explode("word").drop_nulls() for each in (words, pairs)]
    return pl.concat(both).group_by("row", "word").len("times")


class WordView:
    """Naive Bayes with soft counts; a text is judged by the counts of the other folds, never by its own fold.

    Args:
        bags: Texts.
        posterior: `[texts, teachers]`, posterior of each teacher, each row sums to 1.
        words: Size of the vocabulary.
    """

    def __init__(self, bags: BagsOfWords, posterior: Floats, words: int) -> None:
        teachers = posterior.shape[1]
        cells = bags.folds[bags.rows] * words + bags.columns  # [entries], which fold and word
        by_teacher = [
            np.bincount(cells, bags.weights * posterior[bags.rows, teacher], _FOLDS * words)
            for teacher in range(teachers)
        ]
        counts = np.stack(by_teacher, axis=1).reshape(_FOLDS, words, teachers)
        others = counts.sum(axis=0) - counts + _SMOOTHING
        self.log_likelihoods = np.log(others / others.sum(axis=1, keepdims=True)) if words else others

    def __call__(self, bags: BagsOfWords) -> NDArray[np.float64]:
        """Of texts, log p(words | teacher), less its mean over teachers, `[texts, teachers, 1]`."""
        entries = (
            bags.weights[:, None] * self.log_likelihoods[bags.folds[bags.rows], bags.columns]
        )  # [entries, teachers]
        log_odds: NDArray[np.float64] = np.stack(
            [np.bincount(bags.rows, of_teacher, len(bags.folds)).astype(np.float64) for of_teacher in entries.T], axis=1
        )
        log_odds -= log_odds.mean(axis=1, keepdims=True)
        return log_odds[:, :, None]
