"""Gold labels, where they are known: for measuring alone."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline import store
from pipeline.errors import MukiError
from pipeline.layout import MAKE_CORPUS, Layout
from pipeline.vocabulary import Vocabulary

MAKE_TEST = "Name a test set (prepare.test) and run muki-pipeline prepare"


def read_corpus_gold(layout: Layout) -> dict[str, str]:
    """Gold label of each id of the corpus, empty where they are not known."""
    if not layout.corpus_gold.exists():
        return {}
    table = store.read_file(layout.corpus_gold, ["id", "label"], MAKE_CORPUS)
    return dict(zip(table["id"].to_pylist(), table["label"].to_pylist(), strict=True))


def read_test(layout: Layout, vocabulary: Vocabulary) -> tuple[pl.DataFrame, NDArray[np.intp]]:
    """The test texts whose label is some teacher's, and the column of each one's label in the union.

    Raises:
        MukiError: There is no test set, or none of its labels is a teacher's.
    """
    test = pl.DataFrame(pl.from_arrow(store.read_file(layout.test, ["id", "text", "label"], MAKE_TEST)))
    known = test.filter(pl.col("label").is_in(vocabulary.labels))
    if known.is_empty():
        raise MukiError("none of its labels is a teacher's", where=str(layout.test), fix="Set integrate.aliases")
    return known, np.array([vocabulary.labels.index(label) for label in known["label"]])
