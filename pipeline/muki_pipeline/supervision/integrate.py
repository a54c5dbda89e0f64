"""Label tables become a golden table: the router scores each shard's texts, and scores become targets and weights."""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muki_pipeline.config import POSTERIORS, Integrate, Params
from muki_pipeline.engines.local import Threads
from muki_pipeline.engines.loop import Engine, run_each
from muki_pipeline.freshness import CORPUS, EMBEDDINGS, LABEL_NAMES, content, labels_of
from muki_pipeline.labels.tables import Features, open_features
from muki_pipeline.layout import Layout
from muki_pipeline.progress import SILENT, Progress
from muki_pipeline.routing.inputs import RoutingInputs, open_inputs
from muki_pipeline.routing.router import SUREST, Router, load_or_fit, publish_router, router_key
from muki_pipeline.routing.scorers import SCORERS
from muki_pipeline.store import files
from muki_pipeline.store.columns import series
from muki_pipeline.store.store import Shard
from muki_pipeline.store.table import publish, seal, unseal
from muki_pipeline.supervision.golden_table import (
    GoldenRows,
    answered,
    find_golden,
    golden_facts,
    golden_key,
    target_columns,
    targets,
    with_unknown,
)
from muki_pipeline.supervision.strategies import STRATEGIES, best_teacher
from muki_pipeline.supervision.summary import RoutingSummary, Sums, pairs, read_summary, summarise
from muki_pipeline.supervision.weights import Weigher, margins_of, rounded

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class IntegrationSummary:
    """What `integrate` did.

    Attributes:
        rows: Texts of the golden table.
        abstained: Those of them with weight 0, because no teacher has an answer or knows its label.
        foreign: Those of them that seem to belong to no teacher's labels.
        routing: What is known about the choice of teachers, see `RoutingSummary`; None where scores are no posterior.
        is_new: Whether the table was made now; else it was there already.
    """

    rows: int
    abstained: int
    foreign: int
    routing: RoutingSummary | None
    is_new: bool = True


def integrate(
    params: Params,
    layout: Layout,
    folder: Path,
    progress: Progress = SILENT,
    engine: Engine = Threads,
) -> IntegrationSummary:
    """Write a golden table from the corpus and the labels of the teachers that params.yaml lists.

    A table of the same corpus, labels, embeddings and settings that is there already is left alone. The project's own
    table has its router beside it, in `data/router/`.

    Args:
        params: All settings; used are `teachers`, `label`, `integrate` and the student's temperature.
        layout: Where the tables lie.
        folder: The golden table.
        progress: Counts the rows that are written.
        engine: Makes the workers; by default threads of this process.

    Raises:
        MukiError: See `open_inputs` and `LabelTables.read_checked`; no text is left to teach.
    """
    inputs = open_inputs(params, layout)
    corpus, strategy = inputs.corpus, STRATEGIES[params.integrate.strategy]
    features = open_features(corpus.tables, corpus.shards) if strategy.reads_features else None
    facts = golden_facts(params, corpus, strategy.loss, params.student.temperature)
    if features is not None:
        facts |= {"feature_widths": features.widths}
    key = golden_key(facts, router_key(inputs), features)
    is_projects = folder == layout.golden
    with files.only_one(layout.work / "integrate.lock", "integrating"):
        if (finished := find_golden(folder, layout.work / "golden", key)) is not None:
            if is_projects and not Router.is_in(layout.router, router_key(inputs)):
                publish_router(load_or_fit(inputs, layout), layout)
            summary = read_summary(finished["routing"])
            found = (finished["abstained"], finished["foreign"])
            return IntegrationSummary(corpus.rows, *found, summary, is_new=False)
        sample = inputs.sample(_columns(inputs.scorer, params.integrate), engine)
        router = load_or_fit(inputs, layout, lambda: sample)
        _LOG.info("router %s is ready; %d texts are scored", inputs.scorer, corpus.rows)
        weigher = Weigher.fit(router, sample, params.integrate)
        writer = GoldenWriter(
            inputs, router, params.integrate, params.student.temperature, weigher, folder, features, facts
        )
        task = progress.begin("integrate", corpus.rows, "rows")
        unseal(folder)
        written, sums = dict[int, Shard](), Sums.none(len(corpus.teachers))

        def take(number: int, part: tuple[Shard, Sums]) -> None:
            written[number] = part[0]
            sums.add(part[1])
            task.advance(part[0].rows)

        run_each(writer.write, len(corpus.shards), engine, take)
        abstained = corpus.rows - sums.taught
        foreign, routing = sums.foreign, summarise(router, sums)
        counts = {"abstained": abstained, "foreign": foreign}
        summary_of = None if routing is None else asdict(routing)
        said = {"key": key, "router": router.key, "tables": _tables(inputs), **counts, "routing": summary_of}
        shards = [written[number] for number in range(len(corpus.shards))]
        seal(folder, shards, facts | said)
        if is_projects:  # DVC removes it before it runs the command again
            publish(layout.work / "golden", shards, facts | said)
            publish_router(router, layout)
    return IntegrationSummary(corpus.rows, abstained, foreign, routing)


def _tables(inputs: RoutingInputs) -> dict[str, str]:
    """What the manifest says of each table that was read, see `check_tables`."""
    corpus, embeddings = inputs.corpus, inputs.embeddings
    read = {CORPUS: corpus.shards, **{labels_of(name): shards for name, shards in corpus.tables.shards.items()}}
    if embeddings is not None:
        read |= {EMBEDDINGS: embeddings.shards, LABEL_NAMES: [embeddings.name_shard]}
    return {name: content(name, shards) for name, shards in read.items()}


def _columns(scorer: str, settings: Integrate) -> list[str]:
    """The columns of a label shard that a scorer, its search for foreign texts and targets read."""
    foreign = SCORERS[SUREST].columns if settings.unknown_share else ()
    return sorted({*SCORERS[scorer].columns, *foreign, *target_columns(settings)})


@dataclass(frozen=True)
class GoldenWriter:
    """Writes golden shards from verified label shards, here or on another machine.

    Attributes:
        inputs: What is read.
        router: Scores the texts.
        settings: The `integrate` block.
        temperature: T of the teachers' softmax.
        weigher: Weighs the texts.
        folder: The golden table.
        features: What the teachers' heads read, None where the strategy does not need it.
        facts: What every shard's footer says.
    """

    inputs: RoutingInputs
    router: Router
    settings: Integrate
    temperature: float
    weigher: Weigher
    folder: Path
    features: Features | None
    facts: dict[str, Any]

    def write(self, number: int) -> tuple[Shard, Sums]:
        """Write one shard."""
        corpus, strategy = self.inputs.corpus, STRATEGIES[self.settings.strategy]
        texts = corpus.read(number)
        ids = series(texts["id"])
        labels = corpus.tables.read_checked(number, _columns(self.inputs.scorer, self.settings), ids)
        outputs = self.inputs.outputs(number, texts, labels)
        every_score = rounded(self.router.scores(outputs))
        scores = rounded(self.router.votes(every_score, outputs))
        is_foreign = self.weigher.is_foreign(outputs)
        margins = margins_of(every_score, outputs, self.settings)
        weights = self.weigher(margins, outputs, is_foreign)
        target, distributions = targets(
            scores, labels, corpus.label_space, self.settings, self.temperature, self.router.sharpening
        )
        answered(target, outputs.anchors)
        apart = _apart(distributions, outputs.is_silent) if strategy.keeps_teachers_apart else None
        features = None if self.features is None else np.concatenate(self.features.read(number, ids), axis=1)
        student_target = target if self.settings.unknown_label is None else with_unknown(target, is_foreign)
        rows = GoldenRows(texts, scores, margins, student_target, weights, apart, features)
        label_keys = {name: shards[number].key for name, shards in corpus.tables.shards.items()}
        facts = {**self.facts, "label_keys": label_keys}
        shard = rows.write(corpus.layout.store(self.folder), number, corpus.teachers, facts)
        best, teachers = best_teacher(scores), scores.shape[1]
        # The summary, which names starved labels, is made of posteriors alone.
        is_counted = (weights > 0) & ~is_foreign & (self.router.scorer in POSTERIORS)
        sums = Sums(
            taught=int(np.count_nonzero(weights)),
            foreign=int(np.count_nonzero(is_foreign)),
            chosen=np.bincount(best, minlength=teachers),
            targets=Counter(target[is_counted].argmax(axis=1).tolist()),
            taught_as=pairs(
                target[is_counted],
                [each[is_counted] for each in distributions],
                outputs.is_silent[is_counted],
                corpus.label_space,
            ),
        )
        return shard, sums


def _apart(distributions: Sequence[NDArray[np.floating]], is_silent: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The teachers' distributions one after the other, `[rows, labels of all teachers]`; 0 where one has no answer."""
    heard = [each * ~silent[:, None] for each, silent in zip(distributions, is_silent.T, strict=True)]
    return np.concatenate(heard, axis=1).astype(np.float32)
