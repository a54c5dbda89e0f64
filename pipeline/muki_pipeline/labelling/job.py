"""Labelling with one teacher as a job of an engine: shards' names go in, digests come out, and no table passes.

Processes are forked from a server that has imported this module (`process_context`), and so torch and transformers.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from muki_pipeline.corpus.table import read_corpus_shard
from muki_pipeline.errors import MukiError
from muki_pipeline.labelling.labeller import Labeller
from muki_pipeline.labelling.outcome import Labelled, Throughput
from muki_pipeline.labelling.store import StoredTeacher
from muki_pipeline.progress import SILENT, Task
from muki_pipeline.store.store import Shard


@dataclass(frozen=True)
class LabelJob:
    """See `Job`. One teacher cannot label in two threads at once: its network has one pass that runs.

    Attributes:
        teacher: The teacher; a pickled one loads its weights again.
        task: Receives texts as they go through the network, where they do so in this process.
    """

    teacher: StoredTeacher
    task: Task = SILENT

    @property
    def on_gpu(self) -> bool:
        """See `Job`."""
        return self.teacher.labeller.device.type != "cpu"

    def start(self, cores: int | None) -> Callable[[Shard], Labelled]:
        """See `Job`; the weights are loaded for the first shard that needs them."""
        if cores is not None:
            torch.set_num_threads(cores)
        return self.label

    def failed(self, item: Shard, what: str) -> MukiError:
        """See `Job`."""
        fix = "Give workers more memory, lower label.token_budget, or look at its texts"
        return MukiError(what, where=f"shard {item.file} with teacher {self.teacher.files.name}", fix=fix)

    def label(self, shard: Shard) -> Labelled:
        """Label one corpus shard, with features where the settings ask for them."""
        labeller: Labeller = self.teacher.labeller
        labeller.throughput = Throughput()
        arguments = read_corpus_shard(shard), shard.key, self.task
        labels = self.teacher.labels(*arguments)
        features = self.teacher.features(*arguments) if self.teacher.settings.features else None
        return Labelled(labels, labeller.throughput, features)
