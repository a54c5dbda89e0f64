"""What a teacher's head reads of each text, stored beside its labels (`label.features`).

They come from one pass without dropout and have keys of their own: a teacher whose labels are finished does not label
again, and features that are finished are not computed again.
"""

from collections.abc import Sequence

import pyarrow as pa

from muki_pipeline.corpus.table import read_corpus_shard
from muki_pipeline.labelling.labeller import Labeller
from muki_pipeline.layout import Layout
from muki_pipeline.progress import SILENT, Task
from muki_pipeline.store import files, schema
from muki_pipeline.store.columns import fixed_size_lists
from muki_pipeline.store.keys import canonical_key
from muki_pipeline.store.store import Shard
from muki_pipeline.store.table import publish


def find_features(labeller: Labeller, layout: Layout, shard: Shard) -> Shard | None:
    """A teacher's features of a corpus shard, if they are finished."""
    return layout.store(layout.work / "features").find(canonical_key(_determining(labeller, shard)))


def load_or_compute_features(labeller: Labeller, layout: Layout, shard: Shard, task: Task = SILENT) -> Shard:
    """A teacher's features of a corpus shard: loaded from the store, or computed now and stored there.

    Raises:
        MukiError: The teacher's head reads more than one vector of a text.
    """
    stored = find_features(labeller, layout, shard)
    if stored is None:
        texts = read_corpus_shard(shard)
        features = labeller.features(texts["text"].to_pylist(), task)
        columns = {"id": texts["id"], "features": fixed_size_lists(features)}
        table: pa.Table = schema.arrow_table(schema.FEATURES, columns, size=features.shape[1])
        facts = _determining(labeller, shard)
        metadata = facts | {"width": features.shape[1]}
        stored = layout.store(layout.work / "features").finish(canonical_key(facts), table, metadata)
    return stored


def publish_features(name: str, finished: Sequence[Shard], layout: Layout) -> None:
    """Publish a teacher's features of the corpus; without any, remove those of earlier settings."""
    if finished:
        publish(layout.features(name), list(finished), {"teacher": name})
    else:
        files.remove([layout.features(name)])


def _determining(labeller: Labeller, shard: Shard) -> dict[str, object]:
    return {
        "schema": schema.FEATURES_VERSION,
        "teacher": labeller.files.name,
        "teacher_digest": labeller.files.digest,
        "corpus_digest": shard.key,
        "max_length": labeller.settings.max_length,
        "dtype": labeller.dtype,
    }
