"""A corpus labelled shard by shard: finished shards are kept by key, found again, and published as a table."""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa

from pipeline import corpus, store
from pipeline.config import Label, Teacher
from pipeline.labelling import Labeller, Progress, Work
from pipeline.layout import Layout
from pipeline.teachers import locate


@dataclass(frozen=True)
class Labelled:
    """What `label_corpus` did.

    Attributes:
        rows: Texts of the corpus.
        new_rows: Those of them that were labelled now; the others were finished before.
        truncated: Texts of which the teacher read only the beginning.
        work: What went through the network.
        seconds: From the first shard to the last, loading the teacher not counted.
        network_share: How much of that was the network's, None on a GPU.
    """

    rows: int
    new_rows: int
    truncated: int
    work: Work
    seconds: float
    network_share: float | None


def finished(labeller: Labeller, corpus_digest: str, work: Path) -> tuple[Path, store.Shard] | None:
    """The label shard of a corpus shard from the work folder, or None where it is not there whole."""
    key = labeller.key(corpus_digest)
    path = work / "labels" / f"{key}.parquet"
    try:
        entry = store.Shard(**json.loads(path.with_suffix(".json").read_bytes()))
        with path.open("rb") as file:
            whole = hashlib.file_digest(file, "sha256").hexdigest() == entry.sha256
    except (FileNotFoundError, ValueError, TypeError):  # killed between the two files, or damaged: label it again
        return None
    return (path, entry) if whole and entry.key == key else None


def ensure(
    labeller: Labeller, table: pa.Table, corpus_digest: str, work: Path, progress: Progress
) -> tuple[Path, store.Shard]:
    """The finished label shard of a corpus shard: from the work folder, or made now and kept there."""
    found = finished(labeller, corpus_digest, work)
    if found is not None:
        return found
    labels = labeller.label(table, progress)
    key = labeller.key(corpus_digest)
    path = work / "labels" / f"{key}.parquet"
    entry = store.write_shard(path, labels, key, labeller.metadata(corpus_digest))
    store.write_bytes(path.with_suffix(".json"), json.dumps(asdict(entry)).encode())
    return path, entry


def label_corpus(
    name: str, teacher: Teacher, settings: Label, layout: Layout, begin: Callable[[int, float], Progress]
) -> Labelled:
    """Label the whole corpus with one teacher, shard by shard, and publish `data/labels/<name>/`.

    A shard that was finished before, by a run that was killed or on a corpus that was shorter, is not labelled again.

    Args:
        name: The teacher's name.
        teacher: Its block of params.yaml.
        settings: The `label` block.
        layout: Where the tables lie.
        begin: Told how many texts will go through the network (rows x (passes + 1)) and about how many seconds that
            will take, before it starts.

    Raises:
        MukiError: The corpus or the teacher is not fit to be used; see `Labeller.label`, `locate` and `load`.
    """
    shards = corpus.corpus_shards(layout.corpus)
    labeller = Labeller(locate(name, teacher, layout.root), settings)
    with store.only_one(layout.work / "labels" / f"{name}.lock", f"labelling with {name}"):
        new = [shard for shard in shards if finished(labeller, shard.key, layout.work) is None]
        new_rows = sum(shard.rows for shard in new)
        estimate = labeller.estimate(corpus.read_shard(layout.corpus, new[0])["text"].to_pylist()) if new else 0.0
        progress = begin(new_rows * (settings.passes + 1), estimate * new_rows)
        start = time.perf_counter()
        parts = [
            ensure(labeller, corpus.read_shard(layout.corpus, shard), shard.key, layout.work, progress)
            for shard in shards
        ]
        store.publish(layout.labels(name), parts, {"teacher": name})
        seconds = time.perf_counter() - start
    truncated = sum(int(pl.read_parquet(path, columns=["truncated"])["truncated"].sum()) for path, _ in parts)
    return Labelled(
        sum(shard.rows for shard in shards),
        new_rows,
        truncated,
        labeller.work,
        seconds,
        labeller.work.seconds / seconds if labeller.device.type == "cpu" else None,
    )
