"""Gold labels, where they are known: for measuring only."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from muki_pipeline.errors import MukiError
from muki_pipeline.labels.space import LabelSpace
from muki_pipeline.layout import MAKE_CORPUS, Layout
from muki_pipeline.names import comparable, name_unknown
from muki_pipeline.store import files, schema
from muki_pipeline.store.columns import frame
from muki_pipeline.store.table import read_table_file

MAKE_TEST = "Name a test set (prepare.test) and run muki-pipeline prepare"


@dataclass(frozen=True)
class GoldRows:
    """Which of some rows have a gold label that a teacher knows.

    Attributes:
        known: `[rows]`.
        columns: `[rows with a known label]`, the label's column in the union.
    """

    known: NDArray[np.bool_]
    columns: NDArray[np.intp]


@dataclass(frozen=True)
class TestSet:
    """The test texts whose label some teacher knows.

    Attributes:
        texts: `id`, `text`, `label`.
        columns: `[rows]`, the label's column in the union.
        unknown: How many texts each label has that no teacher knows, most first; they are left out.
        foreign: The same where they are not left out, but measured as texts of no teacher.
    """

    __test__ = False  # not for pytest
    texts: pl.DataFrame
    columns: NDArray[np.intp]
    unknown: dict[str, int]
    foreign: dict[str, int] = field(default_factory=dict)

    def described(self, union: Sequence[str]) -> dict[str, Any]:
        """How many texts there are, which are left out, and which are measured as texts of no teacher."""
        unknown, foreign = sum(self.unknown.values()), sum(self.foreign.values())
        told: dict[str, Any] = {"rows": len(self.texts) + unknown, "rows_of_unknown_labels": unknown}
        if unknown:
            told["unknown_labels"] = name_unknown(self.unknown, union)
        if foreign:
            told["rows_measured_as_unknown"] = foreign
            told["labels_measured_as_unknown"] = name_unknown(self.foreign, union)
        return told


def read_corpus_gold(layout: Layout) -> dict[str, str]:
    """Gold label of each id of the corpus; empty where they are not known."""
    if not files.exists(layout.corpus_gold):
        return {}
    table = read_table_file(layout.corpus_gold, schema.names(schema.CORPUS_GOLD), MAKE_CORPUS)
    return dict(zip(table["id"].to_pylist(), table["label"].to_pylist(), strict=True))


def gold_rows(ids: list[str], gold: dict[str, str], label_space: LabelSpace) -> GoldRows:
    """The rows whose gold label is in the union, and its column.

    Args:
        ids: `[rows]`.
        gold: Gold label of each id.
        label_space: The union.
    """
    numbers = {label: number for number, label in enumerate(label_space.labels)}
    columns = np.array([numbers.get(gold.get(text_id, ""), -1) for text_id in ids], dtype=np.intp)
    return GoldRows(columns >= 0, columns[columns >= 0])


def read_test(layout: Layout, label_space: LabelSpace, unknown_label: str | None = None) -> TestSet:
    """The test texts whose label some teacher knows; with a label for the others, all of them.

    Args:
        layout: Where the test set lies.
        label_space: The student's labels.
        unknown_label: The label that texts of other labels should get, one of the student's.

    Raises:
        MukiError: There is no test set, or no teacher knows any of its labels.
    """
    test = frame(read_table_file(layout.test, schema.names(schema.GOLD_TEXTS), MAKE_TEST))
    foreign: dict[str, int] = {}
    if unknown_label is not None:
        foreign = unknown_labels(test["label"], label_space.labels)
        is_known = pl.col("label").is_in(label_space.labels)
        test = test.with_columns(label=pl.when(is_known).then("label").otherwise(pl.lit(comparable(unknown_label))))
    known = test.filter(pl.col("label").is_in(label_space.labels))
    unknown = unknown_labels(test["label"], label_space.labels)
    if known.is_empty():
        what = f"no teacher knows any of its labels: {name_unknown(unknown, label_space.labels)}"
        raise MukiError(what, where=str(layout.test), fix="Set integrate.aliases")
    columns = np.array([label_space.labels.index(label) for label in known["label"]], dtype=np.intp)
    return TestSet(known, columns, unknown, foreign)


def unknown_labels(labels: pl.Series, union: Sequence[str]) -> dict[str, int]:
    """How often each label occurs that is not in the union, most first."""
    counts = labels.filter(~labels.is_in(list(union))).value_counts(sort=True)
    return dict(counts.iter_rows())
