"""Label shards -> golden-supervision shards: scores of the whole corpus first, then targets and weights."""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline import corpus, store
from pipeline.config import Integrate, Params
from pipeline.errors import MukiError
from pipeline.gate import FAIR
from pipeline.integration import STRATEGIES, best_teacher, golden_targets, margins
from pipeline.labels import Labels, LabelTables, open_labels
from pipeline.layout import Layout
from pipeline.scoring import SCORERS, Gate, Said, Score, measure
from pipeline.uncertainty import energy, softmax
from pipeline.vocabulary import Vocabulary, union

SAMPLE_ROWS = 50_000
"""Texts that a scorer is fitted to at most: evenly spaced over the corpus, so that memory does not grow with it."""
ABSTENTION = "mutual_information"
"""The scorer that tells texts that no teacher knows: unlike a posterior, it can find all of them unsure."""
Progress = Callable[[int], None]
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Corpus:
    """A corpus and what the teachers said of it, found to belong together.

    Attributes:
        layout: Where they lie.
        shards: The corpus's.
        tables: The teachers'.
        vocabulary: The union of their labels.
    """

    layout: Layout
    shards: list[store.Shard]
    tables: LabelTables
    vocabulary: Vocabulary

    @property
    def rows(self) -> int:
        """Texts."""
        return sum(shard.rows for shard in self.shards)

    def read(self, number: int, columns: Sequence[str] = ("id", "text")) -> pa.Table:
        """`id` and `text` of a shard, or only one of them."""
        return corpus.read_shard(self.layout.corpus, self.shards[number], columns)

    def said(self, labels: Sequence[Labels], texts: pa.Table | None) -> Said:
        """What a scorer looks at, of some texts; None for texts that it does not read."""
        return Said([] if texts is None else texts["text"].to_pylist(), labels, self.label_counts)

    @property
    def label_counts(self) -> list[int]:
        """How many labels each teacher has."""
        return [len(labels) for labels in self.tables.labels.values()]


def open_corpus(params: Params, layout: Layout) -> Corpus:
    """The corpus with the label tables of the teachers that params.yaml lists.

    Raises:
        MukiError: See `corpus_shards`, `open_labels` and `union`.
    """
    shards = corpus.corpus_shards(layout.corpus)
    tables = open_labels(layout, list(params.teachers), params.label, shards)
    return Corpus(layout, shards, tables, union(tables.labels, params.integrate.aliases))


def score_columns(scorer: str) -> list[str]:
    """The columns of a label shard that a scorer and abstention read."""
    return sorted({*SCORERS[scorer].columns, *SCORERS[ABSTENTION].columns})


def fit_scorer(scorer: str, opened: Corpus) -> Score:
    """The scorer, fitted to evenly spaced rows of the corpus where it asks for that."""
    if not SCORERS[scorer].needs_sample:
        return SCORERS[scorer].fit(Said([], [], []))
    every = -(-opened.rows // SAMPLE_ROWS)
    texts: list[pa.Table] = []
    labels: list[list[pa.Table]] = []
    for number in range(len(opened.shards)):
        shard = opened.read(number)
        kept = np.arange(0, len(shard), every)
        texts.append(shard.take(kept))
        read = opened.tables.read_checked(number, score_columns(scorer), store.series(shard["id"]))
        labels.append([each.table.take(kept) for each in read])
    teachers = [Labels(pa.concat_tables(tables)) for tables in zip(*labels, strict=True)]
    return SCORERS[scorer].fit(opened.said(teachers, pa.concat_tables(texts) if SCORERS[scorer].reads_texts else None))


def target_columns(settings: Integrate) -> list[str]:
    """The columns of a label shard that targets are made of."""
    return ["logits"] if settings.teacher_distribution == "deterministic" else ["logits", "probs"]


def targets(
    scores: NDArray[np.floating],
    labels: Sequence[Labels],
    vocabulary: Vocabulary,
    settings: Integrate,
    temperature: float,
) -> tuple[NDArray[np.float32], list[NDArray[np.floating]]]:
    """Golden targets of one shard, `[rows, union]`, and what they are made of: for each teacher `[rows, its labels]`.

    Args:
        scores: `[rows, teachers]`.
        labels: What each teacher said: `target_columns` are read.
        vocabulary: The union of their labels.
        settings: The `integrate` block.
        temperature: T of the teachers' softmax (the student's `temperature`).
    """
    distributions = [
        softmax(each.logits, temperature) if settings.teacher_distribution == "deterministic" else each.probs
        for each in labels
    ]
    energies = np.empty_like(scores)
    if settings.strategy == "concat":
        energies = np.stack([energy(each.logits / temperature) for each in labels], axis=1)
    weights = STRATEGIES[settings.strategy](scores, energies, settings.temperature)
    return golden_targets(weights, distributions, vocabulary), distributions


@dataclass(frozen=True)
class Integrated:
    """What `integrate` did.

    Attributes:
        rows: Texts of the golden table.
        abstained: Those of them that weigh nothing, because no teacher is sure enough.
        doubtful_agreement: Kappa at which the gate's views began, None where it is enough to build on, or no gate.
    """

    rows: int
    abstained: int
    doubtful_agreement: float | None


def integrate(params: Params, layout: Layout, folder: Path, begin: Callable[[int], Progress]) -> Integrated:
    """Write a golden table from the corpus and the labels of the teachers that params.yaml lists.

    Args:
        params: All settings; used are `teachers`, `label`, `integrate` and the student's temperature.
        layout: Where the tables lie.
        folder: The golden table.
        begin: Told how many rows will be read, before it starts; returns what is told of each shard's.

    Raises:
        MukiError: See `open_corpus` and `LabelTables.read_checked`; `abstain_below` leaves no text.
    """
    settings, temperature = params.integrate, params.student.temperature
    opened = open_corpus(params, layout)
    tables, rows = opened.tables, opened.rows
    score = fit_scorer(settings.scorer, opened)
    progress = begin(2 * rows)
    store.unseal(folder)
    with _scores_on_disk(layout) as kept:

        def score_shard(number: int) -> tuple[float, int]:
            texts = opened.read(number, ("text",)) if SCORERS[settings.scorer].reads_texts else None
            # A look is enough: before anything is made of these scores, `write_shard` verifies the same files.
            said = opened.said(tables.look(number, score_columns(settings.scorer)), texts)
            scores = score(said).astype(np.float32).astype(np.float64)  # as they are stored
            weights = _weights(scores, said, settings)
            np.save(kept / f"{number}.npy", np.column_stack([scores, weights]).astype(np.float32))
            progress(len(scores))
            return float(weights.sum()), int(np.count_nonzero(weights))

        sums = _on_all_cores(score_shard, len(opened.shards))
        taught = sum(count for _, count in sums)
        if not taught:
            raise MukiError(
                f"on every text, all teachers' {ABSTENTION} scores are below {settings.abstain_below}",
                where="integrate.abstain_below",
                fix="Lower it",
            )
        mean = sum(weight for weight, _ in sums) / taught
        facts = _facts(params, opened) | {"abstained": rows - taught}

        def write_shard(number: int) -> store.Shard:
            texts = opened.read(number)
            own = np.load(kept / f"{number}.npy").astype(np.float64)
            scores, weights = own[:, :-1], own[:, -1] / (mean if settings.normalise_weights else 1.0)
            labels = tables.read_checked(number, target_columns(settings), store.series(texts["id"]))
            target, distributions = targets(scores, labels, opened.vocabulary, settings, temperature)
            keys = {name: tables.shards[name][number].key for name in tables.shards}
            table = _golden_table(texts, scores, target, list(params.teachers), weights)
            if settings.strategy == "uhc":
                apart = np.concatenate(distributions, axis=1).astype(np.float32)
                table = table.append_column("teacher_targets", store.fixed_size_lists(apart))
            written = store.write_shard(
                folder / store.part_name(number),
                table,
                store.canonical_key({**facts, "label_keys": keys}),
                {**facts, "label_keys": keys},
            )
            progress(len(texts))
            return written

        written = _on_all_cores(write_shard, len(opened.shards))
    store.seal(folder, written, facts)
    return Integrated(rows, rows - taught, _doubtful_agreement(score, opened))


def _doubtful_agreement(score: Score, opened: Corpus) -> float | None:
    if not isinstance(score, Gate) or len(opened.label_counts) == 1 or score.router.agreement > FAIR:
        return None
    return score.router.agreement


def _facts(params: Params, opened: Corpus) -> dict[str, Any]:
    """What a golden table says of itself: all that it was made from, and how."""
    return {
        "labels": list(opened.vocabulary.labels),
        "teachers": {
            name: {
                "labels": found["labels"],
                "digest": found["teacher_digest"],
                "columns": opened.vocabulary.columns[number].tolist(),
            }
            for number, (name, found) in enumerate(opened.tables.metadata.items())
        },
        "label_settings": params.label.model_dump(exclude={"token_budget", "device"}),
        "integrate": params.integrate.model_dump(),
        "temperature": params.student.temperature,
        "corpus_digest": corpus.digest(opened.shards),
        "rows": opened.rows,
    }


def _on_all_cores(work: Callable[[int], _Result], shards: int) -> list[_Result]:
    """`work` of every shard's number, in as many threads as there are cores; the first error stops it."""
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        return list(pool.map(work, range(shards)))
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _scores_on_disk(layout: Layout) -> Iterator[Path]:
    """A folder in the work folder for each shard's scores and weights, `[rows, teachers + 1]`: memory stays flat."""
    folder = layout.work / "integrate"
    with store.only_one(folder.with_suffix(".lock"), "integrating"):
        shutil.rmtree(folder, ignore_errors=True)  # a killed run's
        folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder)


def _weights(scores: NDArray[np.floating], said: Said, settings: Integrate) -> NDArray[np.float64]:
    """m(x) of each text before scaling (method.md, point 7); 0 where no teacher is sure enough."""
    weights = margins(scores) if settings.reweight == "margin" else np.ones(len(scores))
    if settings.abstain_below is not None:
        weights[measure(ABSTENTION, said).max(axis=1) < settings.abstain_below] = 0.0
    return weights


def _golden_table(
    texts: pa.Table,
    scores: NDArray[np.float64],
    target: NDArray[np.float32],
    teachers: list[str],
    weights: NDArray[np.float64],
) -> pa.Table:
    """The columns of a golden shard (design: "The tables")."""
    best = best_teacher(scores).astype(np.int32)
    return pa.table(
        {
            "id": texts["id"],
            "text": texts["text"],
            "target": store.fixed_size_lists(target),
            "weight": pa.array(weights.astype(np.float32)),
            "teacher": pa.DictionaryArray.from_arrays(best, teachers).dictionary_decode(),
            "margin": pa.array(margins(scores).astype(np.float32)),
            "scores": store.fixed_size_lists(scores.astype(np.float32)),
        }
    )
