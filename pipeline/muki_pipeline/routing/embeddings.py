"""Neutral embeddings, read back for stage two: checked against their manifests and the corpus."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from muki_pipeline.config import Params
from muki_pipeline.errors import MukiError
from muki_pipeline.freshness import check_embedded
from muki_pipeline.labels.tables import LabelledCorpus
from muki_pipeline.layout import MAKE_EMBEDDINGS, Layout
from muki_pipeline.store import schema
from muki_pipeline.store.columns import matrix
from muki_pipeline.store.store import Shard
from muki_pipeline.store.table import Table

_OF_ENCODER = ("schema", "encoder_digest", "max_length", "prompt")
"""Its facts in a manifest."""


@dataclass(frozen=True)
class Embeddings:
    """The embeddings of a corpus and of its labels' names.

    Attributes:
        shards: Those of the texts, one for each corpus shard.
        name_shard: The shard of the label names.
        names: `[size, labels]`, embeddings of the union's label names.
        encoder: Facts of the encoder, see `NeutralEncoder.facts`.
    """

    shards: list[Shard]
    name_shard: Shard
    names: NDArray[np.float32]
    encoder: dict[str, Any]

    def read(
        self, number: int, ids: pa.ChunkedArray, rows: NDArray[np.intp] | slice = slice(None)
    ) -> NDArray[np.float32]:
        """The embeddings of a corpus shard's texts, `[texts, size]`.

        Args:
            number: Which shard.
            ids: The corpus shard's ids.
            rows: Only these rows; all by default.

        Raises:
            MukiError: The file was changed, or holds other texts.
        """
        shard = self.shards[number]
        table = shard.read(["id", "embedding"])
        if not table["id"].equals(ids):
            raise MukiError("its ids are not the corpus's", where=shard.where, fix=MAKE_EMBEDDINGS)
        return matrix(table["embedding"])[rows].astype(np.float32)


def open_embeddings(params: Params, layout: Layout, corpus: LabelledCorpus) -> Embeddings:
    """Open the embeddings and check, before anything is computed, that they belong to the corpus and its labels.

    Raises:
        MukiError: A table is missing, or belongs to another corpus, other labels, other settings or another encoder.
    """
    table = Table.open(layout.embeddings, MAKE_EMBEDDINGS)
    facts = table.facts
    check_embedded(params, table, layout.embeddings)
    if [shard.footer().get("corpus_digest") for shard in table.shards] != [shard.key for shard in corpus.shards]:
        raise MukiError("belongs to another corpus", where=str(layout.embeddings), fix=MAKE_EMBEDDINGS)
    name_table = Table.open(layout.label_names, MAKE_EMBEDDINGS)
    [name_shard] = name_table.shards
    names = name_shard.read(schema.names(schema.LABEL_NAMES))
    if names["label"].to_pylist() != list(corpus.label_space.labels):
        raise MukiError("belongs to other labels", where=str(layout.label_names), fix=MAKE_EMBEDDINGS)
    encoder, of_names = (
        {name: each[name] for name in _OF_ENCODER if name in each} for each in (facts, name_table.facts)
    )
    if of_names != encoder or name_table.facts.get("names_schema") != schema.LABEL_NAMES_VERSION:
        what = "was made by another encoder, or with other settings or another version than the texts' embeddings"
        raise MukiError(what, where=str(layout.label_names), fix=MAKE_EMBEDDINGS)
    return Embeddings(table.shards, name_shard, matrix(names["embedding"]).T, encoder)
