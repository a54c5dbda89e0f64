"""The corpus and the label names embedded, shard by shard; finished shards are stored by key and found again."""

import logging
import re
import unicodedata
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from muki_pipeline.config import Params
from muki_pipeline.corpus.table import corpus_shards, read_corpus_shard
from muki_pipeline.embedding.encoder import NeutralEncoder, find_encoder
from muki_pipeline.labels.tables import open_labelled_corpus
from muki_pipeline.layout import Layout
from muki_pipeline.progress import SILENT, Progress, Task
from muki_pipeline.store import files, schema
from muki_pipeline.store.columns import fixed_size_lists
from muki_pipeline.store.folder import FolderStore
from muki_pipeline.store.keys import canonical_key
from muki_pipeline.store.store import Shard, Store
from muki_pipeline.store.table import publish

_LOG = logging.getLogger(__name__)
_NO_WORD = re.compile(r"(?P<sign>(?<=[^\W\d_])[+#]+(?![^\W\d_]|[+#]))|[\W_]")
"""A character outside words; a sign at the end of one belongs to it."""


@dataclass(frozen=True)
class EmbeddingSummary:
    """What `embed_corpus` did.

    Attributes:
        rows: Texts of the corpus.
        new_rows: Those of them that were embedded now.
        names: Label names.
    """

    rows: int
    new_rows: int
    names: int


def embed_corpus(params: Params, layout: Layout, progress: Progress = SILENT) -> EmbeddingSummary:
    """Embed every text of the corpus and every label name: `data/embeddings/`.

    Args:
        params: All settings.
        layout: Where the tables lie.
        progress: Shows how many texts went through the network.

    Raises:
        MukiError: There is no corpus or label table; see `find_encoder` and `LoadedEncoder`.
    """
    shards = corpus_shards(layout.corpus)
    labels = open_labelled_corpus(params, layout).label_space.labels
    encoder = find_encoder(params, layout.root)
    store = layout.store(layout.work / "embeddings")
    with files.only_one(store.folder / "embed.lock", "embedding"):
        found = {shard.key: store.find(encoder.key(shard.key)) for shard in shards}
        new = [shard for shard in shards if found[shard.key] is None]
        new_rows = sum(shard.rows for shard in new)
        _LOG.info("%d of %d shards are embedded already by %s", len(shards) - len(new), len(shards), encoder.name)
        task = progress.begin("embed", new_rows, "texts")
        stored = [found[shard.key] or _embed_shard(encoder, shard, store, task) for shard in shards]
        name, revision = params.encoder
        facts = encoder.facts | {"settings": params.embed.model_dump(), "encoder": name, "revision": revision}
        publish(layout.embeddings, stored, facts)
        _write_names(encoder, list(labels), layout)
    return EmbeddingSummary(sum(shard.rows for shard in shards), new_rows, len(labels))


def _embed_shard(encoder: NeutralEncoder, shard: Shard, store: Store, task: Task) -> Shard:
    texts = read_corpus_shard(shard)
    embeddings = encoder.loaded.embed(texts["text"].to_pylist(), task)
    columns = {"id": texts["id"], "embedding": fixed_size_lists(embeddings.astype(np.float16))}
    table = schema.arrow_table(schema.EMBEDDINGS, columns, size=embeddings.shape[1])
    return store.finish(encoder.key(shard.key), table, encoder.facts | {"corpus_digest": shard.key})


def _write_names(encoder: NeutralEncoder, labels: list[str], layout: Layout) -> None:
    """Names too are found by key: computed with other threads or on another machine, their last bits would differ."""
    store = FolderStore(layout.work / "names")
    facts = encoder.facts | {"names_schema": schema.LABEL_NAMES_VERSION}
    key = canonical_key(facts | {"labels": labels})
    finished = store.find(key)
    if finished is None:
        embeddings = embed_names(encoder, labels)
        columns = {"label": pa.array(labels, pa.string()), "embedding": fixed_size_lists(embeddings)}
        table = schema.arrow_table(schema.LABEL_NAMES, columns, size=embeddings.shape[1])
        finished = store.finish(key, table, facts)
    publish(layout.label_names, [finished], facts)


def embed_names(encoder: NeutralEncoder, labels: list[str]) -> NDArray[np.float32]:
    """Embeddings of label names, `[labels, size]`."""
    return encoder.loaded.embed([readable(label) for label in labels])


def readable(label: str) -> str:
    """A label's name as words: `rec.sport.hockey` as "rec sport hockey", `cancelOrder` as "cancel Order"; C++ stays."""
    words = _NO_WORD.sub(_spaced, re.sub(r"(?<=[a-z])(?=[A-Z])", " ", label))
    return " ".join(words.split()) if any(map(str.isalnum, words)) else label


def _spaced(found: re.Match[str]) -> str:
    """A space in place of what is between words; vowel signs and accents, which Python counts as no letters, stay."""
    return found[0] if found["sign"] or unicodedata.category(found[0]).startswith("M") else " "
