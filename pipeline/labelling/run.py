"""A corpus labelled shard by shard: finished shards are stored by key, found again, and published as a table.

`load_or_label_shard` is the unit of work. It knows nothing of where it runs, and all its arguments can be pickled, so
any engine may call it in any process.
"""

import logging
import time
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config import Label, Teacher
from pipeline.corpus.table import corpus_shards, read_corpus_shard
from pipeline.labelling.arithmetic import choose
from pipeline.labelling.features import store_features
from pipeline.labelling.labeller import Labeller, Throughput
from pipeline.layout import Layout, make_labels
from pipeline.models.teachers import locate
from pipeline.progress import SILENT, Progress, Task
from pipeline.tables import files
from pipeline.tables.manifest import publish
from pipeline.tables.shards import Shard
from pipeline.tables.work import StoredShard, find_stored, store_shard

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabellingSummary:
    """What `label_corpus` did.

    Attributes:
        rows: Texts of the corpus.
        new_rows: Those of them that were labelled now; the others were finished before.
        truncated: Texts of which the teacher read only the beginning.
        throughput: What went through the network.
        seconds: From the first shard to the last, without the time to load the teacher.
        network_share: The network's share of that time, None on a GPU.
        arithmetic: The arithmetic and why it was chosen; empty where the settings name it.
    """

    rows: int
    new_rows: int
    truncated: int
    throughput: Throughput
    seconds: float
    network_share: float | None
    arithmetic: str


def load_or_label(
    labeller: Labeller, texts: pa.Table, corpus_digest: str, work: Path, task: Task = SILENT
) -> StoredShard:
    """The labels of some texts: loaded from the work folder, or made now and stored there.

    Args:
        labeller: The teacher.
        texts: `id`, `text`.
        corpus_digest: `content_digest` of the texts.
        work: The work folder.
        task: Told of the texts that went through the network.
    """
    folder, key = work / "labels", labeller.key(corpus_digest)
    stored = find_stored(folder, key)
    _LOG.info("%s: shard %s %s", labeller.files.name, key[:12], "is labelled now" if stored is None else "is there")
    if stored is None:
        labels = labeller.label(texts, task)
        stored = store_shard(folder, key, labels, labeller.metadata(corpus_digest))
    return stored


def load_or_label_shard(labeller: Labeller, corpus: Path, shard: Shard, work: Path, task: Task = SILENT) -> StoredShard:
    """The labels of one corpus shard; see `load_or_label`.

    Args:
        labeller: The teacher; a pickled one loads its weights again.
        corpus: The corpus's folder.
        shard: The shard, from the corpus's manifest.
        work: The work folder.
        task: Told of the texts that went through the network.
    """
    return load_or_label(labeller, read_corpus_shard(corpus, shard), shard.key, work, task)


def label_corpus(
    name: str, teacher: Teacher, settings: Label, layout: Layout, progress: Progress = SILENT
) -> LabellingSummary:
    """Label the whole corpus with one teacher, shard by shard, and publish `data/labels/<name>/`.

    A shard that was finished before, by a run that was killed or on a shorter corpus, is not labelled again.

    Args:
        name: The teacher's name.
        teacher: Its block of params.yaml.
        settings: The `label` block.
        layout: Where the tables lie.
        progress: Told how many texts will go through the network (rows x (passes + 1)) and how long that will take.

    Raises:
        MukiError: The corpus or the teacher cannot be used; see `Labeller.label`, `locate` and `load`.
    """
    shards = corpus_shards(layout.corpus)
    with files.only_one(layout.work / "labels" / f"{name}.lock", f"labelling with {name}"):
        folder = layout.work / "labels"
        choice = choose(locate(name, teacher, layout.root), settings, layout.corpus, shards, folder)
        labeller = choice.labeller
        new = [shard for shard in shards if find_stored(folder, labeller.key(shard.key)) is None]
        new_rows = sum(shard.rows for shard in new)
        seconds_per_text = (
            labeller.estimate(read_corpus_shard(layout.corpus, new[0])["text"].to_pylist()) if new else 0.0
        )
        task = progress.begin(
            f"label with {name} in {labeller.dtype}",
            new_rows * (settings.passes + 1),
            "texts x passes",
            seconds_per_text * new_rows,
        )
        start = time.perf_counter()
        stored = [load_or_label_shard(labeller, layout.corpus, shard, layout.work, task) for shard in shards]
        publish(layout.labels(name), [(each.path, each.shard) for each in stored], {"teacher": name})
        seconds = time.perf_counter() - start
        store_features(labeller, layout, shards, progress)
    truncated = sum(pc.sum(each.read(["truncated"], make_labels(name))["truncated"]).as_py() for each in stored)
    return LabellingSummary(
        sum(shard.rows for shard in shards),
        new_rows,
        truncated,
        labeller.throughput,
        seconds,
        labeller.throughput.seconds / seconds if labeller.device.type == "cpu" else None,
        choice.reason,
    )
