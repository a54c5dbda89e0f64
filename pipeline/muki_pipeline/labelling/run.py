"""A corpus labelled shard by shard: finished shards are found by their keys, the others labelled, all published."""

import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pyarrow.compute as pc

from muki_pipeline.blocks import AnswerFile, AnyTeacher, files_named_by
from muki_pipeline.config import Label
from muki_pipeline.corpus.table import corpus_shards, read_corpus_shard
from muki_pipeline.engines.local import ThisProcess
from muki_pipeline.engines.loop import Engine, run_jobs
from muki_pipeline.labelling.answer_file.run import AnswerSummary, label_from_answers
from muki_pipeline.labelling.arithmetic import Choice, choose
from muki_pipeline.labelling.outcome import Labelled, Throughput, close_to_uniform
from muki_pipeline.layout import Layout
from muki_pipeline.models.teachers import locate
from muki_pipeline.progress import SILENT, Progress
from muki_pipeline.store import files
from muki_pipeline.store.store import Shard
from muki_pipeline.store.table import publish

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabellingSummary:
    """What `label_corpus` did.

    Attributes:
        rows: Texts of the corpus.
        new_rows: Those of them that were labelled now; the others were finished before.
        truncated: Texts of which the teacher read only the beginning.
        close_to_uniform: Texts on which its average distribution says almost nothing.
        throughput: What went through the network.
        seconds: From the first shard to the last; where several teachers label in turn, with the time to load this one,
            and where workers label with several at a time, from the first shard of any.
        network_share: The network's share of that time; None on a GPU, with several workers, and where nothing was
            labelled.
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
    name: str, teacher: AnyTeacher, settings: Label, layout: Layout, progress: Progress = SILENT
) -> LabellingSummary | AnswerSummary:
    """Label the whole corpus with one teacher in this process, and publish `data/labels/<name>/`.

    A shard that was finished before, by a run that was killed or on a shorter corpus, is not labelled again.

    Args:
        name: The teacher's name.
        teacher: Its block of params.yaml.
        settings: The `label` block.
        layout: Where the tables lie.
        progress: Receives how many texts will go through the network (rows x (passes + 1)) and how long that will take.

    Raises:
        MukiError: The corpus or the teacher cannot be used; see `Labeller.label`, `locate` and `load`, and
            `label_from_answers`.
    """
    return label_with({name: teacher}, settings, layout, progress)[name]


def label_with(
    teachers: Mapping[str, AnyTeacher],
    settings: Label,
    layout: Layout,
    progress: Progress = SILENT,
    engine: Engine | None = None,
) -> dict[str, LabellingSummary | AnswerSummary]:
    """Label the whole corpus with several teachers at once, on any engine; see `label_corpus`.

    Args:
        teachers: Their blocks of params.yaml, by name.
        settings: The `label` block.
        layout: Where the tables lie.
        progress: As in `label_corpus`.
        engine: Makes the workers; by default this process labels. Files of answers are read here in any case.

    Returns:
        What was done with each teacher.

    Raises:
        MukiError: As `label_corpus`; see `run_jobs`.
    """
    shards = corpus_shards(layout.corpus)
    with _locked(teachers, layout):
        files_of_answers = {name: each for name, each in teachers.items() if isinstance(each, AnswerFile)}
        networks = {name: each for name, each in teachers.items() if not isinstance(each, AnswerFile)}
        read = {name: label_from_answers(name, each, layout, progress) for name, each in files_of_answers.items()}
        plans = {}
        for name, teacher in networks.items():
            located = locate(name, teacher, layout.root)
            plans[name] = _Plan(choose(located, settings, layout, shards, progress), shards)
            if len(networks) > 1:  # one network at a time is in memory
                plans[name].teacher.release()
        if plans:
            _label(plans, progress, engine)
        for plan in plans.values():
            plan.publish()
    done = {name: plan.summary(is_alone=engine is None) for name, plan in plans.items()}
    return {name: read.get(name) or done[name] for name in teachers}


@contextmanager
def _locked(teachers: Iterable[str], layout: Layout) -> Iterator[None]:
    """Inside, no other process labels with these teachers in this project."""
    with ExitStack() as locks:
        for name in teachers:
            locks.enter_context(files.only_one(layout.work / "labels" / f"{name}.lock", f"labelling with {name}"))
        yield


class _Plan:
    """One teacher's part of the work: what is finished, and so what is left.

    Attributes:
        teacher: The teacher.
        new_rows: Texts that had no labels when the work began.
        throughput: What went through the network.
        seconds: See `LabellingSummary`.
    """

    def __init__(self, choice: Choice, shards: list[Shard]) -> None:
        self.teacher, self.shards, self.arithmetic = choice.teacher, shards, choice.reason
        self.throughput, self.seconds = Throughput(), 0.0
        self._labels, wants = dict(choice.stored), self.teacher.settings.features
        self._features = {each.key: self.teacher.find_features(each.key) for each in shards if wants}
        missing = self.missing()
        self.new_rows = sum(shard.rows for shard in missing)
        count, name = len(shards), self.teacher.files.name
        _LOG.info("%s: %d of %d shards are labelled already", name, count - len(missing), count)

    def missing(self) -> list[Shard]:
        """Shards without labels."""
        return [shard for shard in self.shards if self._labels[shard.key] is None]

    def passes_of(self, shard: Shard) -> int:
        """How often the texts of a shard go through the network, for what is not finished."""
        labels = 0 if self._labels[shard.key] is not None else self.teacher.settings.passes + 1
        lacks_features = shard.key in self._features and self._features[shard.key] is None
        return labels + lacks_features

    def estimate(self) -> float:
        """Seconds that the texts without labels will take, from those of one shard; the network is loaded for it."""
        if not (missing := self.missing()):
            return 0.0
        texts = read_corpus_shard(missing[0])["text"].to_pylist()
        return self.teacher.labeller.estimate(texts) * self.new_rows

    def take(self, shard: Shard, done: Labelled) -> None:
        """Note a finished shard."""
        self._labels[shard.key] = done.labels
        if done.features is not None:
            self._features[shard.key] = done.features
        self.throughput.add(done.throughput)

    def publish(self) -> None:
        """Publish the tables of the whole corpus. Features that the settings do not ask for are removed."""
        name, layout = self.teacher.files.name, self.teacher.layout
        facts = {"teacher": name, **files_named_by(self.teacher.files.settings)}
        publish(layout.labels(name), self._in_order(self._labels), facts)
        if self._features:
            publish(layout.features(name), self._in_order(self._features), {"teacher": name})
        else:
            files.remove([layout.features(name)])

    def summary(self, is_alone: bool) -> LabellingSummary:
        """What was done, by this process alone or not."""
        columns = ["truncated", "entropy"]  # for counts alone: of a bucket's shards, no more is fetched
        tables = [stored.read(columns, verify=False) for stored in self._in_order(self._labels)]
        uniform = close_to_uniform(len(self.teacher.files.labels))
        is_timed = is_alone and self.throughput.texts and self.teacher.labeller.device.type == "cpu"
        return LabellingSummary(
            rows=sum(shard.rows for shard in self.shards),
            new_rows=self.new_rows,
            truncated=sum(pc.sum(table["truncated"]).as_py() for table in tables),
            close_to_uniform=sum(pc.sum(pc.greater_equal(table["entropy"], uniform)).as_py() for table in tables),
            throughput=self.throughput,
            seconds=self.seconds,
            network_share=self.throughput.seconds / self.seconds if is_timed else None,
            arithmetic=self.arithmetic,
        )

    def _in_order(self, stored: Mapping[str, Shard | None]) -> list[Shard]:
        return [finished for shard in self.shards if (finished := stored[shard.key]) is not None]


def _label(plans: Mapping[str, _Plan], progress: Progress, engine: Engine | None) -> None:
    """Label what is not finished."""
    todo = {name: [shard for shard in plan.shards if plan.passes_of(shard)] for name, plan in plans.items()}
    total = sum(shard.rows * plans[name].passes_of(shard) for name, shards in todo.items() for shard in shards)
    arithmetic = ", ".join(sorted({plan.teacher.dtype for plan in plans.values()}))
    task = progress.begin(f"label with {', '.join(plans)} in {arithmetic}", total, "texts x passes")
    if not total:
        return
    from muki_pipeline.labelling.job import LabelJob  # imports torch: not before there is something to label

    if engine is None:
        seconds = 0.0
        for plan in plans.values():
            seconds += plan.estimate()
            if len(plans) > 1:
                plan.teacher.release()
        task.expect(seconds)
    left, begun = {name: len(shards) for name, shards in todo.items()}, time.perf_counter()

    def take(name: str, shard: Shard, done: Labelled) -> None:
        nonlocal begun
        if engine is not None:  # in this process, the job itself reports each batch
            task.advance(shard.rows * plans[name].passes_of(shard))
        plans[name].take(shard, done)
        left[name] -= 1
        if not left[name]:
            plans[name].teacher.release()
            now = time.perf_counter()
            plans[name].seconds = now - begun
            begun = begun if engine else now  # workers label with several teachers at a time

    jobs = {name: LabelJob(plan.teacher, SILENT if engine else task) for name, plan in plans.items()}
    run_jobs(jobs, todo, engine or ThisProcess, take)
