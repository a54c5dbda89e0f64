"""A corpus labelled shard by shard: finished shards are found by their keys, the others labelled, all published."""

import logging
import math
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field

import pyarrow.compute as pc

from muki_pipeline.config import Label, Teacher
from muki_pipeline.corpus.table import corpus_shards, read_corpus_shard
from muki_pipeline.labelling.arithmetic import Choice, choose
from muki_pipeline.labelling.engines.dispatch import Labelled, Workers, label_shards
from muki_pipeline.labelling.engines.local import ThisProcess
from muki_pipeline.labelling.features import find_features, publish_features
from muki_pipeline.labelling.labeller import Throughput
from muki_pipeline.layout import Layout
from muki_pipeline.models.teachers import locate
from muki_pipeline.progress import SILENT, Progress
from muki_pipeline.store import files
from muki_pipeline.store.store import Shard
from muki_pipeline.store.table import publish

_LOG = logging.getLogger(__name__)

_UNIFORM = 0.9
"""From this share of the greatest entropy on, an answer counts as close to uniform. Trained teachers of 2 to 140 labels
are at 0.7 at most on a tenth of the texts; those with a tenth of the training are at 0.99 on all."""


@dataclass(frozen=True)
class LabellingSummary:
    """What `label_corpus` did.

    Attributes:
        rows: Texts of the corpus.
        new_rows: Those of them that were labelled now; the others were finished before.
        truncated: Texts of which the teacher read only the beginning.
        close_to_uniform: Texts on which its average distribution says almost nothing.
        throughput: What went through the network.
        seconds: From the first shard to the last, without the time to load the teacher.
        network_share: The network's share of that time, None on a GPU and with several workers.
        arithmetic: The arithmetic and why it was chosen; empty where the settings name it.
    """

    rows: int
    new_rows: int
    truncated: int
    close_to_uniform: int
    throughput: Throughput
    seconds: float
    network_share: float | None
    arithmetic: str


def label_corpus(
    name: str, teacher: Teacher, settings: Label, layout: Layout, progress: Progress = SILENT
) -> LabellingSummary:
    """Label the whole corpus with one teacher in this process, and publish `data/labels/<name>/`.

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
    return label_with({name: teacher}, settings, layout, progress)[name]


def label_with(
    teachers: Mapping[str, Teacher],
    settings: Label,
    layout: Layout,
    progress: Progress = SILENT,
    engine: Callable[[], Workers] | None = None,
) -> dict[str, LabellingSummary]:
    """Label the whole corpus with several teachers at once, on any engine; see `label_corpus`.

    Args:
        teachers: Their blocks of params.yaml, by name.
        settings: The `label` block.
        layout: Where the tables lie.
        progress: As in `label_corpus`.
        engine: Makes its workers; by default this process labels.

    Returns:
        What was done with each teacher.

    Raises:
        MukiError: As `label_corpus`; see `label_shards`.
    """
    shards = corpus_shards(layout.corpus)
    with ExitStack() as locks:
        for name in teachers:
            locks.enter_context(files.only_one(layout.work / "labels" / f"{name}.lock", f"labelling with {name}"))
        jobs = {
            name: _Job(choose(locate(name, teacher, layout.root), settings, layout, shards))
            for name, teacher in teachers.items()
        }
        for job in jobs.values():
            job.find_features(layout, shards)
        todo = {name: [shard for shard in shards if job.passes_of(shard)] for name, job in jobs.items()}
        missing = {name: [shard for shard in shards if job.stored[shard.key] is None] for name, job in jobs.items()}
        for name in jobs:
            _LOG.info("%s: %d of %d shards are labelled already", name, len(shards) - len(missing[name]), len(shards))
        new_rows = {name: sum(shard.rows for shard in missing[name]) for name in jobs}
        seconds = None if engine else sum(_estimate(jobs[name], missing[name], layout) for name in jobs)
        arithmetic = ", ".join(sorted({job.choice.labeller.dtype for job in jobs.values()}))
        task = progress.begin(
            f"label with {', '.join(jobs)} in {arithmetic}",
            sum(shard.rows * jobs[name].passes_of(shard) for name in jobs for shard in todo[name]),
            "texts x passes",
            seconds,
        )

        def finished(name: str, shard: Shard, done: Labelled) -> None:
            if engine is not None:
                task.advance(shard.rows * jobs[name].passes_of(shard))
            jobs[name].take(shard, done)

        start = time.perf_counter()
        if any(todo.values()):
            workers = engine() if engine is not None else ThisProcess(layout, task)
            labellers = {name: job.choice.labeller for name, job in jobs.items()}
            label_shards(labellers, todo, workers, finished)
        for name, job in jobs.items():
            publish(layout.labels(name), _in_order(job.stored, shards), {"teacher": name})
            publish_features(name, _in_order(job.features, shards), layout)
        elapsed = time.perf_counter() - start
    return {name: job.summary(shards, new_rows[name], elapsed, engine is None) for name, job in jobs.items()}


def _estimate(job: "_Job", todo: list[Shard], layout: Layout) -> float:
    """Seconds that a teacher will take for shards."""
    if not todo:
        return 0.0
    texts = read_corpus_shard(todo[0])["text"].to_pylist()
    return job.choice.labeller.estimate(texts) * sum(shard.rows for shard in todo)


@dataclass
class _Job:
    """One teacher's part of the work.

    Attributes:
        choice: Its labeller, and which shards were finished before.
        features: Its features of each shard, by key; empty where the settings do not ask for them.
        throughput: What went through its network.
    """

    choice: Choice
    features: dict[str, Shard | None] = field(default_factory=dict)
    throughput: Throughput = field(default_factory=Throughput)

    def __post_init__(self) -> None:
        self.stored = dict(self.choice.stored)

    def find_features(self, layout: Layout, shards: list[Shard]) -> None:
        """Note which features are finished."""
        if self.choice.labeller.settings.features:
            self.features = {shard.key: find_features(self.choice.labeller, layout, shard) for shard in shards}

    def passes_of(self, shard: Shard) -> int:
        """How often the texts of a shard go through the network, for what is not finished."""
        labels = 0 if self.stored[shard.key] is not None else self.choice.labeller.settings.passes + 1
        lacks_features = shard.key in self.features and self.features[shard.key] is None
        return labels + lacks_features

    def take(self, shard: Shard, done: Labelled) -> None:
        """Note a finished shard."""
        self.stored[shard.key] = done.stored
        if done.features is not None:
            self.features[shard.key] = done.features
        self.throughput.add(done.throughput)

    def summary(self, shards: list[Shard], new_rows: int, seconds: float, alone: bool) -> LabellingSummary:
        """What was done."""
        columns = ["truncated", "entropy"]
        tables = [stored.read(columns) for stored in _in_order(self.stored, shards)]
        uniform = _UNIFORM * math.log(len(self.choice.labeller.files.labels))
        on_cpu = self.choice.labeller.device.type == "cpu"
        return LabellingSummary(
            sum(shard.rows for shard in shards),
            new_rows,
            sum(pc.sum(table["truncated"]).as_py() for table in tables),
            sum(pc.sum(pc.greater_equal(table["entropy"], uniform)).as_py() for table in tables),
            self.throughput,
            seconds,
            self.throughput.seconds / seconds if on_cpu and alone else None,
            self.choice.reason,
        )


def _in_order(stored: Mapping[str, Shard | None], shards: list[Shard]) -> list[Shard]:
    """Finished shards, in the corpus's order."""
    return [finished for shard in shards if (finished := stored.get(shard.key)) is not None]
