"""Labelling with one teacher as a job of an engine: shards' names go in, digests come out, and no table passes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch

from muki_pipeline.corpus.table import read_corpus_shard
from muki_pipeline.errors import MukiError
from muki_pipeline.labelling.labeller import Labeller, Throughput
from muki_pipeline.labelling.store import load_or_compute_features, load_or_label
from muki_pipeline.layout import Layout
from muki_pipeline.progress import SILENT, Task
from muki_pipeline.store.store import Shard


class Labelled(NamedTuple):
    """A finished shard: its labels, what went through the network, and features where the settings ask for them."""

    labels: Shard
    throughput: Throughput
    features: Shard | None


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

    @property
    def on_gpu(self) -> bool:
        """See `Job`."""
        return self.labeller.device.type != "cpu"

    def start(self, cores: int | None) -> Callable[[Shard], Labelled]:
        """See `Job`; the weights are loaded for the first shard that needs them."""
        if cores is not None:
            torch.set_num_threads(cores)
        return self.label

    def failed(self, item: Shard, what: str) -> MukiError:
        """See `Job`."""
        fix = "Give workers more memory, lower label.token_budget, or look at its texts"
        return MukiError(what, where=f"shard {item.file} with teacher {self.labeller.files.name}", fix=fix)

    def label(self, shard: Shard) -> Labelled:
        """Label one corpus shard, with features where the settings ask for them."""
        self.labeller.throughput = Throughput()
        arguments = self.labeller, read_corpus_shard(shard), shard.key, self.layout, self.task
        labels = load_or_label(*arguments)
        features = load_or_compute_features(*arguments) if self.labeller.settings.features else None
        return Labelled(labels, self.labeller.throughput, features)
