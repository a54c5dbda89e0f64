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
_LONGEST_WORD = 20
_UNSPACED = (
    rf"^[\p{{Han}}\p{{Hiragana}}\p{{Katakana}}\p{{Thai}}\p{{Lao}}\p{{Khmer}}\p{{Myanmar}}]|^\w{{{_LONGEST_WORD},}}$"
)
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
    weights: NDArray[np.float32]
    texts: int


class WordIndex:
    """The words and pairs of words that texts have in common, with their inverse document frequencies.

    Args:
        texts: A sample of the corpus; a word must occur in two of its texts.

    Attributes:
        table: `word`, `column`, `idf`; a pair is its two words with a space between them.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        rows, words = _words(texts)
        gram_rows, grams = _grams(rows, words)
        single = pl.concat(
            [pl.DataFrame({"row": rows, "word": words}), pl.DataFrame({"row": gram_rows, "word": grams})]
        )
        pairs = pl.DataFrame({"row": rows, "first": words, "second": words.shift(-1)})
        pairs = pairs.filter(np.append(rows[1:] == rows[:-1], False)[: len(rows)])
        counted = _texts_with(single, "word").with_columns(first="word", second=pl.lit(None, pl.String))
        pair = pl.concat_str("first", "second", separator=" ")
        counted = pl.concat([counted, _texts_with(pairs, "first", "second").with_columns(word=pair)], how="diagonal")
        kept = (
            counted.sort(["texts", "word"], descending=[True, False])
            .head(_MOST_WORDS)
            .with_columns(
                column=pl.int_range(pl.len(), dtype=pl.Int64),
                idf=((1.0 + len(texts)) / (1.0 + pl.col("texts"))).log() + 1.0,
            )
        )
        self.table = kept.select("word", "column", "idf")
        self._idf = kept["idf"].to_numpy()
        # Words are compared as strings once; pairs are then pairs of numbers.
        members = pl.concat([kept["first"], kept["second"]]).drop_nulls().unique(maintain_order=True)
        self._numbers = pl.DataFrame({"word": members, "number": np.arange(len(members))})
        first, second = (self._number(kept[name].fill_null("")) for name in ("first", "second"))
        is_pair = second >= 0
        self._single = np.full(len(members) + 1, -1)  # the last one for words without a number, -1
        self._single[first[~is_pair]] = np.flatnonzero(~is_pair)
        keys = first[is_pair] * len(members) + second[is_pair]
        self._pairs = pl.DataFrame({"key": keys, "column": np.flatnonzero(is_pair)})

    def bags(self, texts: Sequence[str]) -> BagsOfWords:
        """TF-IDF of some texts; words that the sample does not have are ignored."""
        rows, words = _words(texts)
        gram_rows, grams = _grams(rows, words)
        numbers = self._number(words)
        follows = (rows[1:] == rows[:-1]) & (numbers[1:] >= 0) & (numbers[:-1] >= 0)
        keys = numbers[:-1][follows] * len(self._numbers) + numbers[1:][follows]
        columns = np.concatenate(
            [self._single[numbers], self._single[self._number(grams)], _looked_up(pl.Series(keys), self._pairs)]
        )
        cells = np.concatenate([rows, gram_rows, rows[:-1][follows]]) * len(self.table) + columns
        cells = np.sort(cells[columns >= 0])  # by row, then by column
        starts = np.flatnonzero(np.diff(cells, prepend=-1))
        times = np.diff(starts, append=len(cells))
        rows, columns = np.divmod(cells[starts], max(len(self.table), 1))
        weights = (1.0 + np.log(times)) * self._idf[columns]
        weights /= np.sqrt(np.bincount(rows, weights * weights, len(texts)))[rows]
        return BagsOfWords(rows, columns, weights.astype(np.float32), len(texts))

    def _number(self, words: pl.Series) -> NDArray[np.int64]:
        return _looked_up(words, self._numbers)


def _looked_up(values: pl.Series, table: pl.DataFrame) -> NDArray[np.int64]:
    """For each value what stands beside it in a table of two columns, -1 for those that it lacks."""
    key, found = table.columns
    joined = pl.DataFrame({key: values}).join(table, on=key, how="left", maintain_order="left")
    numbers: NDArray[np.int64] = joined[found].fill_null(-1).to_numpy()
    return numbers


def _texts_with(entries: pl.DataFrame, *words: str) -> pl.DataFrame:
    """`texts`: how many texts each value of the columns `words` occurs in, for those in two texts or more."""
    return entries.unique().group_by(*words).len("texts").filter(pl.col("texts") >= _RAREST)


def _words(texts: Sequence[str]) -> tuple[NDArray[np.int64], pl.Series]:
    """Every word of some texts, lower case, in order, and which text it is in."""
    found = pl.Series("word", list(texts), dtype=pl.String).str.to_lowercase().str.extract_all(r"\w+")
    return np.repeat(np.arange(len(texts)), found.list.len().to_numpy()), found.explode(empty_as_null=False)


def _grams(rows: NDArray[np.int64], words: pl.Series) -> tuple[NDArray[np.int64], pl.Series]:
    """Every few characters that follow each other in runs of letters without spaces, and which text they are in."""
    # The pattern costs much more than lengths, and most words are short and ASCII.
    candidates = (words.str.len_bytes() >= _LONGEST_WORD) | (words.str.len_bytes() > words.str.len_chars())
    runs = pl.DataFrame({"row": rows, "word": words}).filter(candidates).filter(pl.col("word").str.contains(_UNSPACED))
    characters = runs.select("row", word=pl.col("word").str.split(""))
    grams = [
        characters.select(
            "row",
            word=pl.col("word").list.eval(pl.concat_str([pl.element().shift(-step) for step in range(length)])),
        )
        for length in _GRAMS
    ]
    found = pl.concat(grams).explode("word").drop_nulls()
    return found["row"].to_numpy(), found["word"]


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
