"""Label shards found by key, or made and stored: the unit of work, whatever engine calls it."""

import logging

import pyarrow as pa

from muki_pipeline.labelling.labeller import Labeller
from muki_pipeline.layout import Layout
from muki_pipeline.progress import SILENT, Task
from muki_pipeline.store.store import Shard

_LOG = logging.getLogger(__name__)


def find_labels(labeller: Labeller, layout: Layout, corpus_digest: str) -> Shard | None:
    """The labels of texts with this digest, if they are finished."""
    return layout.store(layout.work / "labels").find(labeller.key(corpus_digest))


def load_or_label(
    labeller: Labeller, texts: pa.Table, corpus_digest: str, layout: Layout, task: Task = SILENT
) -> Shard:
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
        stored = layout.store(layout.work / "labels").finish(key, labels, labeller.metadata(corpus_digest))
    return stored
