"""What a classifier answers to some texts: found by key, or computed and stored."""

from collections.abc import Callable

import numpy as np
import polars as pl
from numpy.typing import NDArray

from muki_pipeline.corpus.table import content_digest
from muki_pipeline.store import schema
from muki_pipeline.store.columns import arrow, fixed_size_lists, matrix
from muki_pipeline.store.keys import canonical_key
from muki_pipeline.store.store import Store


def stored_predictions(
    classifier_key: str, texts: pl.DataFrame, store: Store, answer: Callable[[list[str]], NDArray[np.float32]]
) -> NDArray[np.float32]:
    """A classifier's answers, `[texts, labels]`.

    Args:
        classifier_key: SHA-256 of everything that determines an answer, except for the text.
        texts: `id`, `text`; other columns are left aside.
        store: Where answers are kept.
        answer: Computes the answers to these texts, where they are not stored yet; it alone may load a network.
    """
    rows = arrow(texts.select("id", "text"))
    facts = {"version": schema.PREDICTIONS_VERSION, "classifier": classifier_key, "texts": content_digest(rows)}
    key = canonical_key(facts)
    stored = store.find(key)
    if stored is None:
        answers = fixed_size_lists(answer(texts["text"].to_list()))
        stored = store.finish(key, rows.select(["id"]).append_column("answers", answers), facts)
    return matrix(stored.read(["answers"])["answers"])
