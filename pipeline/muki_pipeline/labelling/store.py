"""Label shards found by key, or made and stored: the unit of work, whatever engine calls it."""

import logging

import pyarrow as pa

from muki_pipeline.labelling.labeller import Labeller
from muki_pipeline.layout import Layout
from muki_pipeline.progress import SILENT, Task
from muki_pipeline.tables.work import StoredShard, find_stored, store_shard

_LOG = logging.getLogger(__name__)


def find_labels(labeller: Labeller, layout: Layout, corpus_digest: str) -> StoredShard | None:
    """The labels of texts with this digest, if they are finished."""
    return find_stored(layout.work / "labels", labeller.key(corpus_digest), layout.store)


def load_or_label(
    labeller: Labeller, texts: pa.Table, corpus_digest: str, layout: Layout, task: Task = SILENT
) -> StoredShard:
    """The labels of some texts: loaded from the store, or made now and stored there.

    Args:
        labeller: The teacher.
        texts: `id`, `text`.
        corpus_digest: `content_digest` of the texts.
        layout: Where the tables lie.
        task: Receives the texts that went through the network.
    """
    stored, key = find_labels(labeller, layout, corpus_digest), labeller.key(corpus_digest)
    _LOG.info("%s: shard %s %s", labeller.files.name, key[:12], "is labelled now" if stored is None else "is there")
    if stored is None:
        labels = labeller.label(texts, task)
        stored = store_shard(layout.work / "labels", key, labels, labeller.metadata(corpus_digest), layout.store)
    return stored
