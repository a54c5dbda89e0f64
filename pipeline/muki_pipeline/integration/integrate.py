"""Label tables become a golden table: scores of the whole corpus first, then targets and weights."""

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from muki_pipeline.config import Integrate, Params
from muki_pipeline.errors import MukiError
from muki_pipeline.integration.embeddings import Embeddings, open_embeddings
from muki_pipeline.integration.engines.threads import Engine, Kept, Run, on_all_cores, threads
from muki_pipeline.integration.golden_table import (
    answered,
    find_golden,
    golden_facts,
    golden_key,
    target_columns,
    targets,
    write_golden_shard,
)
from muki_pipeline.integration.label_tables import (
    Features,
    LabelledCorpus,
    LabelShard,
    open_features,
    open_labelled_corpus,
)
from muki_pipeline.integration.routing.answers import Answers, read_answers
from muki_pipeline.integration.routing_summary import RoutingSummary, ShardSums, read_summary, summarise
from muki_pipeline.integration.scorers import SCORERS, Score, TeacherOutputs, measure
from muki_pipeline.integration.strategies import STRATEGIES, best_teacher, margins
from muki_pipeline.layout import Layout
from muki_pipeline.progress import SILENT, Progress
from muki_pipeline.tables import files
from muki_pipeline.tables.columns import series
from muki_pipeline.tables.store import Shard
from muki_pipeline.tables.table import publish, seal, unseal

_LOG = logging.getLogger(__name__)

SAMPLE_ROWS = 50_000
"""Most texts that a scorer is fitted to: evenly spaced over the corpus, so that memory does not grow with it."""
ABSTENTION = "mutual_information"
"""The scorer that finds texts that no teacher knows: unlike a posterior, it can call all teachers unsure."""


@dataclass(frozen=True)
class IntegrationSummary:
    """What `integrate` did.

    Attributes:
        rows: Texts of the golden table.
        abstained: Those of them with weight 0, because no teacher is sure enough.
        routing: What is known about the choice of teachers, see `RoutingSummary`; None where scores are no posterior.
        is_new: Whether the table was made now; else it was there already.
    """

    rows: int
    abstained: int
    routing: RoutingSummary | None
    is_new: bool = True


def integrate(
    params: Params,
    layout: Layout,
    folder: Path,
    progress: Progress = SILENT,
    engine: Callable[[], AbstractContextManager[Engine]] | None = None,
) -> IntegrationSummary:
    """Write a golden table from the corpus and the labels of the teachers that params.yaml lists.

    A table of the same corpus, labels, embeddings and settings that is there already is left alone.

    Args:
        params: All settings; used are `teachers`, `label`, `integrate` and the student's temperature.
        layout: Where the tables lie.
        folder: The golden table.
        progress: Told of the rows that are read; every row is read twice.
        engine: Makes what runs the work of each shard; by default threads of this process.

    Raises:
        MukiError: See `open_labelled_corpus` and `LabelTables.read_checked`; `abstain_below` leaves no text.
    """
    corpus = open_labelled_corpus(params, layout)
    embeddings = open_embeddings_of(params, layout, corpus, params.integrate.scorer)
    answers = read_answers(params.integrate.answers, layout.root, corpus.label_space)
    strategy = STRATEGIES[params.integrate.strategy]
    features = open_features(corpus.tables, corpus.shards) if strategy.reads_features else None
    facts = golden_facts(params, corpus, strategy.loss, params.student.temperature)
    key = golden_key(facts, corpus, embeddings, features)
    kept = layout.work / "golden"
    with files.only_one(layout.work / "integrate.lock", "integrating"), ExitStack() as stack:
        if (finished := find_golden(folder, kept, key)) is not None:
            summary = read_summary(finished["routing"])
            return IntegrationSummary(corpus.rows, finished["abstained"], summary, is_new=False)
        running = stack.enter_context(threads(layout.work / "integrate") if engine is None else engine())
        score = fit_scorer(params.integrate.scorer, corpus, embeddings, answers, running.run)
        _LOG.info("scorer %s is fitted; %d texts are scored", params.integrate.scorer, corpus.rows)
        task = progress.begin("integrate", 2 * corpus.rows, "rows")

        def told(number: int) -> None:
            task.advance(corpus.shards[number].rows)

        unseal(folder)
        scoring = ScoringPhase(corpus, params.integrate, score, embeddings, answers)
        sums = running.run_and_keep(scoring.run, len(corpus.shards), told)
        taught = sum(shard.taught for shard in sums)
        if not taught:
            raise MukiError(
                f"all teachers' {ABSTENTION} scores are below {params.integrate.abstain_below} on every text",
                where="integrate.abstain_below",
                fix="Lower it",
            )
        routing = summarise(params.integrate.scorer, corpus.teachers, score, sums)
        if features is not None:
            facts |= {"feature_widths": features.widths}
        facts |= {
            "key": key,
            "abstained": corpus.rows - taught,
            "routing": None if routing is None else asdict(routing),
        }
        mean_weight = sum(shard.weight for shard in sums) / taught
        writing = WritingPhase(
            corpus=corpus,
            settings=params.integrate,
            temperature=params.student.temperature,
            weight_unit=mean_weight if params.integrate.normalise_weights else 1.0,
            folder=folder,
            features=features,
            answers=answers,
            facts=facts,
        )
        shards = running.run_with_kept(writing.run, len(corpus.shards), told)
        seal(folder, shards, facts)
        if folder == layout.golden:  # DVC removes it before it runs the command again
            publish(kept, shards, facts)
    return IntegrationSummary(corpus.rows, corpus.rows - taught, routing)


@dataclass(frozen=True)
class ScoringPhase:
    """Scores and raw weights of every shard.

    Attributes:
        corpus: What is read.
        settings: The `integrate` block.
        score: The fitted scorer.
        embeddings: Neutral embeddings, None where the scorer does not read them.
        answers: A person's answers, if there are any.
    """

    corpus: LabelledCorpus
    settings: Integrate
    score: Score
    embeddings: Embeddings | None
    answers: Answers | None

    def run(self, number: int) -> tuple[ShardSums, Kept]:
        """Score one shard; `[rows, teachers + 1]` are kept for `WritingPhase`: the scores, then the weight."""
        scorer = SCORERS[self.settings.scorer]
        # Digests are not computed here: before anything is made of these scores, WritingPhase verifies the same files.
        labels = self.corpus.tables.read_unverified(number, score_columns(self.settings.scorer))
        texts = self.corpus.read(number) if scorer.reads_texts else None
        outputs = teacher_outputs(self.corpus, number, labels, texts, self.embeddings, self.answers)
        scores = self.score(outputs).astype(np.float32).astype(np.float64)  # as they are stored
        weights = _raw_weights(scores, outputs, self.settings)
        best = best_teacher(scores)
        teachers = scores.shape[1]
        sums = ShardSums(
            weight=float(weights.sum()),
            taught=int(np.count_nonzero(weights)),
            chosen=np.bincount(best, minlength=teachers),
            scores=np.bincount(best, scores.max(axis=1), minlength=teachers).astype(np.float64),
        )
        return sums, np.column_stack([scores, weights]).astype(np.float32)


@dataclass(frozen=True)
class WritingPhase:
    """Golden shards from the kept scores and the verified label shards.

    Attributes:
        corpus: What is read.
        settings: The `integrate` block.
        temperature: T of the teachers' softmax.
        weight_unit: What raw weights are divided by.
        folder: The golden table.
        features: What the teachers' heads read, None where the strategy does not need it.
        answers: A person's answers, if there are any.
        facts: What the table's manifest says.
    """

    corpus: LabelledCorpus
    settings: Integrate
    temperature: float
    weight_unit: float
    folder: Path
    features: Features | None
    answers: Answers | None
    facts: dict[str, Any]

    def run(self, number: int, kept: Kept) -> Shard:
        """Write one shard from what `ScoringPhase` kept."""
        texts = self.corpus.read(number)
        stored = kept.astype(np.float64)  # [rows, teachers + 1]
        scores, weights = stored[:, :-1], stored[:, -1] / self.weight_unit
        labels = self.corpus.tables.read_checked(number, target_columns(self.settings), series(texts["id"]))
        target, distributions = targets(scores, labels, self.corpus.label_space, self.settings, self.temperature)
        answered(target, None if self.answers is None else self.answers.anchors(texts["id"].to_pylist()))
        strategy = STRATEGIES[self.settings.strategy]
        label_keys = {name: shards[number].key for name, shards in self.corpus.tables.shards.items()}
        features = None if self.features is None else self.features.read(number, series(texts["id"]))
        return write_golden_shard(
            self.corpus.layout.store(self.folder),
            number,
            texts,
            scores=scores,
            target=target,
            weights=weights,
            teacher_targets=np.concatenate(distributions, axis=1).astype(np.float32)
            if strategy.keeps_teachers_apart
            else None,
            teacher_features=None if features is None else np.concatenate(features, axis=1),
            teachers=self.corpus.teachers,
            facts={**self.facts, "label_keys": label_keys},
        )


def score_columns(scorer: str) -> list[str]:
    """The columns of a label shard that a scorer and abstention read."""
    return sorted({*SCORERS[scorer].columns, *SCORERS[ABSTENTION].columns})


def open_embeddings_of(params: Params, layout: Layout, corpus: LabelledCorpus, scorer: str) -> Embeddings | None:
    """The neutral embeddings, where a scorer reads them.

    Raises:
        MukiError: See `open_embeddings`.
    """
    return open_embeddings(params, layout, corpus) if SCORERS[scorer].reads_texts else None


def teacher_outputs(
    corpus: LabelledCorpus,
    number: int,
    labels: Sequence[LabelShard],
    texts: pa.Table | None,
    embeddings: Embeddings | None,
    answers: Answers | None = None,
) -> TeacherOutputs:
    """What a scorer reads of one shard; texts and embeddings may be None for a scorer that does not read them."""
    if texts is None or embeddings is None:
        return TeacherOutputs(None, labels, corpus.label_space)
    vectors = embeddings.read(number, texts["id"])
    anchors = None if answers is None else answers.anchors(texts["id"].to_pylist())
    return TeacherOutputs(texts["text"].to_pylist(), labels, corpus.label_space, vectors, embeddings.names, anchors)


def fit_scorer(
    scorer: str,
    corpus: LabelledCorpus,
    embeddings: Embeddings | None,
    answers: Answers | None = None,
    run: Run = on_all_cores,
) -> Score:
    """The scorer, fitted to evenly spaced rows of the corpus, and all answered ones, if it needs to be fitted."""
    if not SCORERS[scorer].needs_sample:
        return SCORERS[scorer].fit(TeacherOutputs(None, [], corpus.label_space))
    sampling = SamplingPhase(corpus, score_columns(scorer), embeddings, answers)
    parts = run(sampling.run, len(corpus.shards))
    teachers = [LabelShard(pa.concat_tables(tables)) for tables in zip(*(part.labels for part in parts), strict=True)]
    if embeddings is None:
        return SCORERS[scorer].fit(TeacherOutputs(None, teachers, corpus.label_space))
    chosen = pa.concat_tables(part.texts for part in parts)
    vectors = np.concatenate([part.embeddings for part in parts if part.embeddings is not None])
    anchors = None if answers is None else answers.anchors(chosen["id"].to_pylist())
    if answers is not None and anchors is not None and len(anchors.rows) < len(answers.columns):
        what = f"{len(answers.columns) - len(anchors.rows)} of the answered texts are not in the corpus"
        raise MukiError(what, where="integrate.answers", fix="Make a new sample with muki-pipeline review")
    texts = chosen["text"].to_pylist()
    sample = TeacherOutputs(texts, teachers, corpus.label_space, vectors, embeddings.names, anchors)
    return SCORERS[scorer].fit(sample)


@dataclass(frozen=True)
class Sample:
    """Some rows of a shard.

    Attributes:
        texts: `id`, `text`.
        labels: The columns of every teacher's label shard that are read.
        embeddings: `[rows, size]`, None where the scorer does not read them.
    """

    texts: pa.Table
    labels: list[pa.Table]
    embeddings: NDArray[np.float32] | None


@dataclass(frozen=True)
class SamplingPhase:
    """Evenly spaced rows of the corpus, `SAMPLE_ROWS` at most, and all answered ones.

    Attributes:
        corpus: What is read.
        columns: The columns of a label shard that the scorer reads.
        embeddings: Neutral embeddings, None where the scorer does not read them.
        answers: A person's answers, if there are any.
    """

    corpus: LabelledCorpus
    columns: list[str]
    embeddings: Embeddings | None
    answers: Answers | None

    def run(self, number: int) -> Sample:
        """Rows of one shard."""
        texts = self.corpus.read(number)
        rows = np.arange(0, len(texts), -(-self.corpus.rows // SAMPLE_ROWS))
        if self.answers is not None:
            rows = np.union1d(rows, self.answers.anchors(texts["id"].to_pylist()).rows)
        checked = self.corpus.tables.read_checked(number, self.columns, series(texts["id"]))
        labels = [shard.table.take(rows) for shard in checked]
        embeddings = None if self.embeddings is None else self.embeddings.read(number, texts["id"], rows)
        return Sample(texts.take(rows), labels, embeddings)


def _raw_weights(scores: NDArray[np.floating], outputs: TeacherOutputs, settings: Integrate) -> NDArray[np.float64]:
    """m(x) of each text before scaling (docs/method.md, step 7); 0 where no teacher and no person is sure enough."""
    weights = margins(scores) if settings.reweight == "margin" else np.ones(len(scores))
    if settings.abstain_below is not None:
        is_unsure = measure(ABSTENTION, outputs).max(axis=1) < settings.abstain_below
        if outputs.anchors is not None:
            is_unsure[outputs.anchors.rows] = False
        weights[is_unsure] = 0.0
    return weights
