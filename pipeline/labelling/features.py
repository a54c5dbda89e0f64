"""What a teacher's head reads of each text, stored beside its labels (`label.features`)."""

import pyarrow as pa

from pipeline.corpus.table import read_corpus_shard
from pipeline.labelling.labeller import Labeller
from pipeline.layout import Layout
from pipeline.progress import SILENT, Progress
from pipeline.tables import files, schema
from pipeline.tables.columns import fixed_size_lists
from pipeline.tables.keys import canonical_key
from pipeline.tables.manifest import publish
from pipeline.tables.shards import Shard
from pipeline.tables.work import find_stored, store_shard


def store_features(labeller: Labeller, layout: Layout, shards: list[Shard], progress: Progress = SILENT) -> None:
    """Publish a teacher's features of every corpus shard, or remove them where the settings do not ask for them.

    They come from one pass without dropout, which needs no label shard: a teacher whose labels are finished does not
    label again, and features that are finished are not computed again.

    Args:
        labeller: The teacher.
        layout: Where the tables lie.
        shards: The corpus's.
        progress: Told of the texts.

    Raises:
        MukiError: The teacher's head reads more than one vector of a text.
    """
    name = labeller.files.name
    if not labeller.settings.features:
        files.remove([layout.features(name)])
        return
    folder = layout.work / "features"
    keys = {shard.key: canonical_key(_determining(labeller, shard)) for shard in shards}
    stored = {shard: find_stored(folder, key, layout.store) for shard, key in keys.items()}
    missing = [shard for shard in shards if stored[shard.key] is None]
    task = progress.begin(f"features of {name}", sum(shard.rows for shard in missing), "texts")
    for shard in missing:
        texts = read_corpus_shard(layout.corpus, shard)
        features = labeller.features(texts["text"].to_pylist(), task)
        columns = {"id": texts["id"], "features": fixed_size_lists(features)}
        table: pa.Table = schema.arrow_table(schema.FEATURES, columns, size=features.shape[1])
        facts = _determining(labeller, shard)
        metadata = facts | {"width": features.shape[1]}
        stored[shard.key] = store_shard(folder, keys[shard.key], table, metadata, layout.store)
    finished = [each for shard in shards if (each := stored[shard.key]) is not None]
    publish(layout.features(name), finished, {"teacher": name})


def _determining(labeller: Labeller, shard: Shard) -> dict[str, object]:
    return {
        "schema": schema.FEATURES_VERSION,
        "teacher": labeller.files.name,
        "teacher_digest": labeller.files.digest,
        "corpus_digest": shard.key,
        "max_length": labeller.settings.max_length,
        "dtype": labeller.dtype,
    }
