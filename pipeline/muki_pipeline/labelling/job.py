"""Labelling with one teacher as a job of an engine: shards' names go in, digests come out, and no table passes."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from muki_pipeline.corpus.table import read_corpus_shard
from muki_pipeline.labelling.features import load_or_compute_features
from muki_pipeline.labelling.labeller import Labeller, Throughput
from muki_pipeline.labelling.store import load_or_label
from muki_pipeline.layout import Layout
from muki_pipeline.progress import SILENT, Task
from muki_pipeline.store.store import Shard


@dataclass(frozen=True)
class Labelled:
    """A finished shard.

    Attributes:
        labels: Its labels.
        features: What the head reads, None where the settings do not ask for it.
        throughput: What went through the network.
    """

    labels: Shard
    features: Shard | None
    throughput: Throughput


@dataclass(frozen=True)
class LabelJob:
    """See `Job`. One teacher cannot label in two threads at once: its network has one pass that runs.

    Attributes:
        labeller: The teacher; a pickled one loads its weights again.
        layout: Where the tables lie.
        task: Receives texts as they go through the network, where they do so in this process.
    """

    labeller: Labeller
    layout: Layout
    task: Task = SILENT
    fix = "Give workers more memory, lower label.token_budget, or look at its texts"

    @property
    def on_gpu(self) -> bool:
        """See `Job`."""
        return self.labeller.device.type != "cpu"

    def start(self, cores: int | None) -> Callable[[Shard], Labelled]:
        """See `Job`; the weights are loaded for the first shard that needs them."""
        if cores is not None:
            torch.set_num_threads(cores)
        return self.label

    def where(self, item: Shard) -> str:
        """See `Job`."""
        return f"shard {item.file} with teacher {self.labeller.files.name}"

    def label(self, shard: Shard) -> Labelled:
        """Label one corpus shard, with features where the settings ask for them."""
        self.labeller.throughput = Throughput()
        texts = read_corpus_shard(shard)
        labels = load_or_label(self.labeller, texts, shard.key, self.layout, self.task)
        wants = self.labeller.settings.features
        features = load_or_compute_features(self.labeller, self.layout, shard, self.task) if wants else None
        return Labelled(labels, features, self.labeller.throughput)
