"""Ids of texts, given part by part, and the place of an id in a corpus."""

import hashlib
from collections.abc import Sequence

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from muki_pipeline.errors import MukiError
from muki_pipeline.layout import MAKE_CORPUS, Layout
from muki_pipeline.store.columns import series
from muki_pipeline.store.folder import FolderStore
from muki_pipeline.store.keys import canonical_key
from muki_pipeline.store.store import Shard
from muki_pipeline.store.table import Table

_DIGITS = 15
"""Hex digits of an id that fit into a signed 64-bit integer."""


def text_id(text: str, occurrence: int) -> str:
    """32 hex digits: a hash of a text and of how many identical texts come before it."""
    return hashlib.blake2b(f"{occurrence}\0{text}".encode(), digest_size=16).hexdigest()


def first_ids(texts: pl.Series) -> pl.Series:
    """The id that each text has where it occurs for the first time."""
    return pl.Series("id", [text_id(text, 0) for text in texts], dtype=pl.String)


def short_ids(ids: pl.Series) -> NDArray[np.int64]:
    """The beginnings of ids as integers."""
    return ids.str.slice(0, _DIGITS).str.to_integer(base=16, dtype=pl.Int64).to_numpy()


class Ids:
    """Gives ids to texts that come in parts. It remembers 8 bytes of every text, and more only of repeated ones."""

    def __init__(self) -> None:
        self._seen: list[NDArray[np.int64]] = []
        self._counts: dict[str, int] = {}

    def add(self, part: pl.DataFrame, first: pl.Series | None = None) -> pl.DataFrame:
        """`part` with a first column `id`; see `text_id`.

        Args:
            part: `text` and other columns.
            first: `first_ids` of its texts, where they are known.
        """
        first = first_ids(part["text"]) if first is None else first
        before = first.to_frame().select(pl.int_range(pl.len()).over("id"))[:, 0].to_numpy().copy()
        ids = first.to_list()
        known = self._known(short_ids(first))
        for row in np.flatnonzero(known | (before > 0)):
            occurrence = self._counts.get(ids[row], int(known[row]))
            if before[row] and ids[row] not in self._counts:
                occurrence = 1
            self._counts[ids[row]] = occurrence + 1
            if occurrence:
                ids[row] = text_id(part["text"][int(row)], occurrence)
        self._remember(short_ids(first))
        return part.select(pl.Series("id", ids, dtype=pl.String), pl.all())

    def new(self, first: pl.Series) -> NDArray[np.bool_]:
        """Of texts by their `first_ids`, which have not been given an id yet and do not occur earlier among them."""
        result: NDArray[np.bool_] = first.is_first_distinct().to_numpy() & ~self.known(first)
        return result

    def known(self, first: pl.Series) -> NDArray[np.bool_]:
        """Of texts by their `first_ids`, which have been given an id."""
        return self._known(short_ids(first))

    def _known(self, ids: NDArray[np.int64]) -> NDArray[np.bool_]:
        known = np.zeros(len(ids), dtype=bool)
        for seen in self._seen:
            places = np.minimum(np.searchsorted(seen, ids), len(seen) - 1)
            known |= seen[places] == ids
        return known

    def _remember(self, ids: NDArray[np.int64]) -> None:
        """Sorted runs, merged while the last is not much smaller than the one before: few of them, whatever comes."""
        if not len(ids):
            return
        self._seen.append(np.sort(ids))
        while len(self._seen) > 1 and len(self._seen[-2]) <= 2 * len(self._seen[-1]):
            last = self._seen.pop()
            self._seen[-1] = np.sort(np.concatenate([self._seen[-1], last]))


def place_of(layout: Layout, wanted: str) -> int:
    """The number of the corpus shard that holds an id.

    The first call makes an index in the work folder, 12 bytes a text; later ones look it up without reading the corpus.

    Raises:
        MukiError: There is no corpus, or no text has that id.
    """
    shards = Table.open(layout.corpus, MAKE_CORPUS).shards
    work = FolderStore(layout.work / "index")
    key = canonical_key({"corpus": [shard.key for shard in shards]})
    index = (work.find(key) or work.finish(key, _index(shards), {})).read()
    if len(wanted) == 32 and set(wanted) <= set("0123456789abcdef"):
        start, end = np.searchsorted(index["ids"].to_numpy(), [short := int(wanted[:_DIGITS], 16), short + 1])
        for number in index["shards"][start:end].to_pylist():
            if wanted in set(shards[number].read(["id"], verify=False)["id"].to_pylist()):
                return int(number)
    raise MukiError(f"no text has the id {wanted!r}", where=str(layout.corpus), fix="Copy an id from data/corpus")


def _index(shards: Sequence[Shard]) -> pa.Table:
    """The beginning of every id, in order, and the number of its shard."""
    parts = [short_ids(series(shard.read(["id"], verify=False)["id"])) for shard in shards]
    ids = np.concatenate(parts)
    numbers = np.repeat(np.arange(len(parts), dtype=np.int32), [len(part) for part in parts])
    order = np.argsort(ids, kind="stable")
    return pa.table({"ids": ids[order], "shards": numbers[order]})
