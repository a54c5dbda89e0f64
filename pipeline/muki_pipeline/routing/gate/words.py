"""A text's words as a view of which label it has: naive Bayes with soft counts (Nigam et al. 2000)."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.sparse import csr_array

Floats = NDArray[np.floating]

FOLDS = 5
_MOST_WORDS = 30_000
_RAREST = 2
_SMOOTHING = 0.01
_LONGEST_WORD = 20
UNSPACED_SCRIPTS = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
"""Scripts without spaces between words, as a class of characters in a pattern of polars."""
_UNSPACED = rf"^[{UNSPACED_SCRIPTS}]|^\w{{{_LONGEST_WORD},}}$"
"""Runs of letters that are no single word: scripts without spaces, and whatever is longer than words are."""
_GRAMS = (2, 3, 4)


@dataclass(frozen=True)
class WordIndex:
    """The words and pairs of words that texts have in common.

    Attributes:
        words: They; a pair is its two words with a space between them.
        idf: `[words]`, their inverse document frequencies.
    """

    words: tuple[str, ...]
    idf: NDArray[np.float64]

    @classmethod
    def fit(cls, texts: Sequence[str]) -> Self:
        """The index of a sample of the corpus; a word must occur in two of its texts."""
        rows, words = _words(texts)
        gram_rows, grams = _grams(rows, words)
        single = pl.concat(
            [pl.DataFrame({"row": rows, "word": words}), pl.DataFrame({"row": gram_rows, "word": grams})]
        )
        pairs = pl.DataFrame({"row": rows, "first": words, "second": words.shift(-1)})
        pairs = pairs.filter(np.append(rows[1:] == rows[:-1], False)[: len(rows)])
        # Pairs are counted as two columns: to join the strings of all of them would take most of the time.
        pair = pl.concat_str("first", "second", separator=" ")
        counted = pl.concat(
            [_texts_with(single, "word"), _texts_with(pairs, "first", "second").select("texts", word=pair)],
            how="diagonal",
        )
        common = counted.sort(["texts", "word"], descending=[True, False]).head(_MOST_WORDS)
        idf = np.log((1.0 + len(texts)) / (1.0 + common["texts"].to_numpy())) + 1.0
        return cls(tuple(common["word"]), idf)

    @cached_property
    def _numbers(self) -> pl.DataFrame:
        """A number for each single word: words are compared as strings once, and pairs are pairs of numbers."""
        members = pl.Series(self.words, dtype=pl.String).str.split(" ").explode().unique(maintain_order=True)
        return pl.DataFrame({"word": members, "number": np.arange(len(members))})

    @cached_property
    def _columns(self) -> tuple[NDArray[np.int64], pl.DataFrame]:
        """By a word's number its column, the last one for words without a number, -1; and the columns of pairs."""
        parts = pl.DataFrame({"word": pl.Series(self.words, dtype=pl.String)}).select(
            pl.col("word").str.split_exact(" ", 1).struct.rename_fields(["first", "second"]).alias("parts")
        )
        first, second = (self._number(parts["parts"].struct.field(name).fill_null("")) for name in ("first", "second"))
        is_pair = second >= 0
        single = np.full(len(self._numbers) + 1, -1)
        single[first[~is_pair]] = np.flatnonzero(~is_pair)
        keys = first[is_pair] * len(self._numbers) + second[is_pair]
        return single, pl.DataFrame({"key": keys, "column": np.flatnonzero(is_pair)})

    def bags(self, texts: Sequence[str]) -> csr_array:
        """TF-IDF of some texts, `[texts, words]`, each row of length 1; words that the sample lacks are ignored."""
        single, pairs = self._columns
        rows, words = _words(texts)
        gram_rows, grams = _grams(rows, words)
        numbers = self._number(words)
        follows = (rows[1:] == rows[:-1]) & (numbers[1:] >= 0) & (numbers[:-1] >= 0)
        keys = numbers[:-1][follows] * len(self._numbers) + numbers[1:][follows]
        columns = np.concatenate([single[numbers], single[self._number(grams)], _looked_up(pl.Series(keys), pairs)])
        places = np.concatenate([rows, gram_rows, rows[:-1][follows]])[columns >= 0]
        shape = (len(texts), len(self.words))
        times = csr_array((np.ones(len(places)), (places, columns[columns >= 0])), shape=shape)
        times.sum_duplicates()
        weights = (1.0 + np.log(times.data)) * self.idf[times.indices]
        of_row = np.repeat(np.arange(len(texts)), np.diff(times.indptr))
        weights /= np.sqrt(np.bincount(of_row, weights * weights, len(texts)))[of_row]
        return csr_array((weights.astype(np.float32), times.indices, times.indptr), shape=shape)

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


@dataclass(frozen=True)
class WordModel:
    """Naive Bayes per label with soft counts; a text is judged by the counts of the other folds, never by its own.

    Attributes:
        log_likelihoods: `[folds, words, labels]`.
    """

    log_likelihoods: NDArray[np.float32]

    @classmethod
    def fit(cls, bags: csr_array, folds: NDArray[np.intp], targets: Floats) -> Self:
        """The model of some texts.

        Args:
            bags: `[texts, words]`, see `WordIndex.bags`.
            folds: `[texts]`, which fold each text is in.
            targets: `[texts, labels]`, each text's distribution over the labels.
        """
        by_fold = np.stack([bags[folds == fold].T @ targets[folds == fold] for fold in range(FOLDS)])
        others = by_fold.sum(axis=0) - by_fold
        np.maximum(others, 0.0, out=others)  # a difference of equal sums may be a rounding below 0
        others += _SMOOTHING
        if bags.shape[1]:
            others /= others.sum(axis=1, keepdims=True)
        return cls(np.log(others).astype(np.float32))

    def __call__(self, bags: csr_array, folds: NDArray[np.intp]) -> NDArray[np.float64]:
        """Log p(words | label) of texts, `[texts, labels]`."""
        sums = np.zeros((bags.shape[0], self.log_likelihoods.shape[2]))
        for fold in range(FOLDS):
            sums[folds == fold] = bags[folds == fold] @ self.log_likelihoods[fold]
        return sums
