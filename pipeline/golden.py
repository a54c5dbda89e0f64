"""Label shards -> golden-supervision shards, one corpus shard at a time."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline import corpus, store
from pipeline.config import Integrate, Params
from pipeline.integration import STRATEGIES, best_teacher, golden_targets, margins
from pipeline.labels import Labels, LabelTables, open_labels
from pipeline.layout import Layout
from pipeline.uncertainty import confidence, softmax
from pipeline.vocabulary import Vocabulary, union


@dataclass(frozen=True)
class Supervision:
    """What the teachers teach of one shard's texts.

    Attributes:
        scores: `[rows, teachers]`, confidence.
        targets: `[rows, union]` float32, each row sums to 1.
        margins: `[rows]`, best less second-best score.
    """

    scores: NDArray[np.float64]
    targets: NDArray[np.float32]
    margins: NDArray[np.float64]


def score(scorer: str, labels: list[Labels]) -> NDArray[np.float64]:
    """Confidence of every teacher in every text, `[rows, teachers]`."""
    return np.stack([confidence(scorer, each.entropy, each.expected_entropy, each.logits) for each in labels], axis=1)


def supervise(labels: list[Labels], vocabulary: Vocabulary, settings: Integrate, temperature: float) -> Supervision:
    """Golden supervision of one shard, from stored numbers alone.

    Args:
        labels: What each teacher said.
        vocabulary: The union of their labels.
        settings: The `integrate` block.
        temperature: T of the teachers' softmax (the student's `temperature`).
    """
    scores = score(settings.scorer, labels)
    distributions = [
        softmax(each.logits, temperature) if settings.teacher_distribution == "deterministic" else each.probs
        for each in labels
    ]
    weights = STRATEGIES[settings.strategy](scores, settings.temperature)
    return Supervision(scores, golden_targets(weights, distributions, vocabulary), margins(scores))


def _weight_scale(
    tables: LabelTables, shards: list[store.Shard], layout: Layout, settings: Integrate, progress: Callable[[int], None]
) -> float:
    """What margins are multiplied by for a mean of 1 over the corpus: one pass over the scores."""
    if settings.reweight == "none" or not settings.normalise_weights:
        return 1.0
    total = 0.0
    for number, shard in enumerate(shards):
        ids = store.series(corpus.read_shard(layout.corpus, shard)["id"])
        total += margins(score(settings.scorer, tables.read(number, ids))).sum()
        progress(shard.rows)
    return sum(shard.rows for shard in shards) / total


def integrate(params: Params, layout: Layout, begin: Callable[[int], Callable[[int], None]]) -> int:
    """Write `data/golden/` from the corpus and the labels of the teachers that params.yaml lists.

    Args:
        params: All settings; used are `teachers`, `label`, `integrate` and the student's temperature.
        layout: Where the tables lie.
        begin: Told how many rows will be read, before it starts; returns what is told of each shard's.

    Returns:
        Number of rows.

    Raises:
        MukiError: See `corpus_shards`, `open_labels`, `LabelTables.read` and `union`.
    """
    settings, temperature = params.integrate, params.student.temperature
    shards = corpus.corpus_shards(layout.corpus)
    tables = open_labels(layout, list(params.teachers), params.label, shards)
    vocabulary = union(tables.labels, settings.aliases)
    rows = sum(shard.rows for shard in shards)
    facts = {
        "labels": list(vocabulary.labels),
        "teachers": {
            name: {"labels": found["labels"], "digest": found["teacher_digest"]}
            for name, found in tables.metadata.items()
        },
        "label_settings": params.label.model_dump(exclude={"token_budget", "device"}),
        "integrate": settings.model_dump(),
        "temperature": temperature,
        "corpus_digest": corpus.digest(shards),
        "rows": rows,
    }
    progress = begin(2 * rows if settings.reweight == "margin" and settings.normalise_weights else rows)
    scale = _weight_scale(tables, shards, layout, settings, progress)
    store.unseal(layout.golden)
    written = []
    for number, shard in enumerate(shards):
        texts = corpus.read_shard(layout.corpus, shard)
        supervision = supervise(tables.read(number, store.series(texts["id"])), vocabulary, settings, temperature)
        keys = {name: tables.shards[name][number].key for name in tables.shards}
        written.append(
            store.write_shard(
                layout.golden / store.part_name(number),
                _golden_table(
                    texts, supervision, list(params.teachers), scale if settings.reweight == "margin" else None
                ),
                store.canonical_key({**facts, "label_keys": keys}),
                {**facts, "label_keys": keys},
            )
        )
        progress(shard.rows)
    store.seal(layout.golden, written, facts)
    return rows


def _golden_table(texts: pa.Table, supervision: Supervision, teachers: list[str], scale: float | None) -> pa.Table:
    """The columns of a golden shard; without a scale every text weighs 1."""
    weights = np.ones(len(texts)) if scale is None else supervision.margins * scale
    best = best_teacher(supervision.scores).astype(np.int32)
    return pa.table(
        {
            "id": texts["id"],
            "text": texts["text"],
            "target": store.fixed_size_lists(supervision.targets),
            "weight": pa.array(weights.astype(np.float32)),
            "teacher": pa.DictionaryArray.from_arrays(best, teachers).dictionary_decode(),
            "margin": pa.array(supervision.margins.astype(np.float32)),
            "scores": store.fixed_size_lists(supervision.scores.astype(np.float32)),
        }
    )
