"""Label shards, read back for stage two: checked against the manifest, the corpus and one another."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from pipeline import store
from pipeline.config import Label
from pipeline.errors import MukiError, first
from pipeline.layout import Layout, make_labels

_SETTINGS = ("passes", "seed", "max_length", "dtype", "dropout_layers")
_SAME_IN_A_TABLE = ("labels", "teacher_digest", "dropout_override")


@dataclass(frozen=True)
class Labels:
    """What one teacher said of one shard's texts, in the corpus shard's order; only the columns that were read.

    Attributes:
        table: Some of a label shard's columns.
    """

    table: pa.Table

    @property
    def probs(self) -> NDArray[np.float32]:
        """`[rows, labels]`, average over the passes."""
        return store.matrix(self.table["probs"])

    @property
    def logits(self) -> NDArray[np.float32]:
        """`[rows, labels]`, without dropout."""
        return store.matrix(self.table["logits"])

    @property
    def entropy(self) -> NDArray[np.float32]:
        """`[rows]`, of `probs`, nats."""
        return self._numbers("entropy")

    @property
    def expected_entropy(self) -> NDArray[np.float32]:
        """`[rows]`, average entropy of a pass, nats."""
        return self._numbers("expected_entropy")

    def _numbers(self, column: str) -> NDArray[np.float32]:
        numbers: NDArray[np.float32] = self.table[column].combine_chunks().to_numpy()
        return numbers


@dataclass(frozen=True)
class LabelTables:
    """The label tables of some teachers, found to be of one corpus and made with the same settings.

    Attributes:
        layout: Where they lie.
        metadata: Each teacher's footer metadata, in the order in which params.yaml lists the teachers.
        shards: Each teacher's shards, one for each corpus shard, in its order.
    """

    layout: Layout
    metadata: dict[str, dict[str, Any]]
    shards: dict[str, list[store.Shard]]

    @property
    def labels(self) -> dict[str, list[str]]:
        """Each teacher's label names, in the order of its logits."""
        return {teacher: found["labels"] for teacher, found in self.metadata.items()}

    def read(self, corpus_shard: int, columns: Sequence[str]) -> list[Labels]:
        """Every teacher's labels of a corpus shard.

        Raises:
            MukiError: A file was changed, or lacks a column.
        """
        return self._each(store.read_shard, corpus_shard, columns)

    def look(self, corpus_shard: int, columns: Sequence[str]) -> list[Labels]:
        """The same without verifying the files: nothing that follows from it may stand before `read_checked`.

        Raises:
            MukiError: A file has another size, or lacks a column.
        """
        return self._each(store.read_unverified, corpus_shard, columns)

    def _each(
        self, read: Callable[[Path, store.Shard, str, list[str]], pa.Table], number: int, columns: Sequence[str]
    ) -> list[Labels]:
        return [
            Labels(read(self.layout.labels(teacher), shards[number], make_labels(teacher), list(columns)))
            for teacher, shards in self.shards.items()
        ]

    def read_checked(self, corpus_shard: int, columns: Sequence[str], ids: pl.Series) -> list[Labels]:
        """The same, after a check that every teacher labelled exactly the texts with these ids, in this order.

        Raises:
            MukiError: As `read`; an id is missing, extra or repeated (with counts and the first ids).
        """
        labels = self.read(corpus_shard, ["id", *columns])
        for (teacher, shards), each in zip(self.shards.items(), labels, strict=True):
            where = str(self.layout.labels(teacher) / shards[corpus_shard].file)
            _check_ids(store.series(each.table["id"]), ids, where, teacher)
        return labels


def open_labels(layout: Layout, names: list[str], settings: Label, corpus_shards: list[store.Shard]) -> LabelTables:
    """Open the label tables of `names` and check, before anything is computed, that they belong together.

    Raises:
        MukiError: A table is missing; a shard is another teacher's or another corpus's, differs from the teacher's
            other shards, or was made with other settings than params.yaml's.
    """
    metadata: dict[str, dict[str, Any]] = {}
    shards: dict[str, list[store.Shard]] = {}
    for name in names:
        folder = layout.labels(name)
        shards[name], _ = store.manifest(folder, make_labels(name))
        if [shard.rows for shard in shards[name]] != [shard.rows for shard in corpus_shards]:
            have, want = (sum(shard.rows for shard in each) for each in (shards[name], corpus_shards))
            raise MukiError(
                f"labels {have:,} texts in {len(shards[name])} shards, the corpus has {want:,} in {len(corpus_shards)}",
                where=str(folder),
                fix=make_labels(name),
            )
        for shard, corpus_shard in zip(shards[name], corpus_shards, strict=True):
            path = folder / shard.file
            found = store.footer(path, make_labels(name))
            expected = {
                **{setting: found.get(setting) for setting in _SAME_IN_A_TABLE},
                **metadata.setdefault(name, found),
                **{setting: getattr(settings, setting) for setting in _SETTINGS},
                "schema": store.LABEL_SCHEMA,
                "teacher": name,
                "corpus_digest": corpus_shard.key,
            }
            _check_footer(found, expected, path, name)
    return LabelTables(layout, metadata, shards)


def _check_footer(found: Mapping[str, Any], expected: Mapping[str, Any], path: Path, teacher: str) -> None:
    compared = ("teacher", "corpus_digest", "schema", *_SETTINGS, *_SAME_IN_A_TABLE)
    if differing := [name for name in compared if found.get(name) != expected.get(name)]:
        changes = "; ".join(f"{name} is {found.get(name)!r:.80}, not {expected.get(name)!r:.80}" for name in differing)
        raise MukiError(f"is not what is wanted here: {changes}", where=str(path), fix=make_labels(teacher))


def _check_ids(found: pl.Series, expected: pl.Series, where: str, teacher: str) -> None:
    if found.equals(expected):
        return
    have, want = (pl.DataFrame({"id": ids}) for ids in (found, expected))
    faults = {
        "missing": want.join(have, on="id", how="anti"),
        "extra": have.join(want, on="id", how="anti"),
        "repeated": have.filter(pl.col("id").is_duplicated()).unique(maintain_order=True),
    }
    what = "; ".join(
        f"{len(ids)} ids {kind} ({first(ids['id'].to_list())})" for kind, ids in faults.items() if len(ids)
    )
    raise MukiError(what or "its ids are in another order than the corpus's", where=where, fix=make_labels(teacher))
