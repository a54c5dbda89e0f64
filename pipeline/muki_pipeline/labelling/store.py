"""A teacher's answers to some texts, and what its head reads of them: found by key, or made and stored.

Features (`label.features`) come from one pass without dropout and have keys of their own: a teacher whose labels are
finished does not label again, and features that are finished are not computed again.
"""

import logging

import pyarrow as pa

from muki_pipeline.labelling.labeller import Labeller
from muki_pipeline.layout import Layout
from muki_pipeline.progress import SILENT, Task
from muki_pipeline.store import schema
from muki_pipeline.store.columns import fixed_size_lists
from muki_pipeline.store.keys import canonical_key
from muki_pipeline.store.store import Shard

_LOG = logging.getLogger(__name__)


def find_labels(labeller: Labeller, layout: Layout, corpus_digest: str) -> Shard | None:
    """The labels of texts with this digest, if they are finished."""
    return layout.store(layout.work / "labels").find(labeller.key(corpus_digest))


def find_features(labeller: Labeller, layout: Layout, corpus_digest: str) -> Shard | None:
    """A teacher's features of texts with this digest, if they are finished."""
    key = canonical_key(_features_facts(labeller, corpus_digest))
    return layout.store(layout.work / "features").find(key)


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


def load_or_compute_features(
    labeller: Labeller, texts: pa.Table, corpus_digest: str, layout: Layout, task: Task = SILENT
) -> Shard:
    """A teacher's features of some texts; see `load_or_label`.

    Raises:
        MukiError: The teacher's head reads more than one vector of a text.
    """
    stored = find_features(labeller, layout, corpus_digest)
    if stored is None:
        features = labeller.features(texts["text"].to_pylist(), task)
        columns = {"id": texts["id"], "features": fixed_size_lists(features)}
        table = schema.arrow_table(schema.FEATURES, columns, size=features.shape[1])
        facts = _features_facts(labeller, corpus_digest)
        metadata = facts | {"width": features.shape[1]}
        stored = layout.store(layout.work / "features").finish(canonical_key(facts), table, metadata)
    return stored


def _features_facts(labeller: Labeller, corpus_digest: str) -> dict[str, object]:
    return {
        "schema": schema.FEATURES_VERSION,
        "teacher": labeller.files.name,
        "teacher_digest": labeller.files.digest,
        "corpus_digest": corpus_digest,
        "max_length": labeller.settings.max_length,
        "dtype": labeller.dtype,
    }
