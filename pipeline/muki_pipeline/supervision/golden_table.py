"""The golden table: its targets, what its manifest says, and the one function that writes its shards."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from muki_pipeline.config import POSTERIORS, Integrate, Params
from muki_pipeline.corpus.table import corpus_digest
from muki_pipeline.errors import MukiError
from muki_pipeline.freshness import check_tables
from muki_pipeline.labels.space import LabelSpace
from muki_pipeline.labels.tables import Features, LabelledCorpus, LabelShard
from muki_pipeline.layout import MAKE_GOLDEN
from muki_pipeline.routing.answers import Anchors
from muki_pipeline.routing.confidence import energy, softmax
from muki_pipeline.routing.gate.calibration import sharpened
from muki_pipeline.routing.router import Router
from muki_pipeline.routing.silence import voting
from muki_pipeline.store import schema
from muki_pipeline.store.columns import fixed_size_lists
from muki_pipeline.store.keys import canonical_key
from muki_pipeline.store.store import Shard, Store
from muki_pipeline.store.table import Table, is_finished, part_name, publish
from muki_pipeline.supervision.strategies import STRATEGIES, best_teacher, golden_targets


def golden_facts(params: Params, corpus: LabelledCorpus, loss: str, temperature: float) -> dict[str, Any]:
    """What a golden table's manifest and footers say: everything that it was made from, and how.

    Args:
        params: All settings.
        corpus: The corpus and its label tables.
        loss: Name of the student's loss, one of `LOSSES`.
        temperature: T of the teachers' softmax.
    """
    reads_energies = STRATEGIES[params.integrate.strategy].reads_energies
    # Told because such a table once had the gate's sharpening in half of its numbers.
    is_plain = {"sharpened": False} if reads_energies and params.integrate.scorer in POSTERIORS else {}
    return is_plain | {
        "schema": schema.GOLDEN_VERSION,
        "labels": list(corpus.label_space.with_unknown(params.integrate.unknown_label).labels),
        "teachers": corpus.teacher_facts,
        "label_settings": params.label.model_dump(exclude={"token_budget", "device", "dtype", "features"}),
        "integrate": params.integrate.model_dump(),
        "loss": loss,
        "temperature": temperature,
        "corpus_digest": corpus_digest(corpus.shards),
        "rows": corpus.rows,
    }


def check_current(params: Params, corpus: LabelledCorpus, golden: Table, folder: Path) -> None:
    """Hold a golden table against the tables that lie here now.

    Raises:
        MukiError: It was made from another corpus, from other labels or from other embeddings of it.
    """
    current = golden_facts(params, corpus, golden.facts["loss"], golden.facts["temperature"])
    current["labels"] = list(corpus.label_space.with_unknown(golden.facts["integrate"].get("unknown_label")).labels)
    if any(golden.facts[name] != current[name] for name in ("corpus_digest", "labels", "teachers", "label_settings")):
        raise MukiError("is of another corpus, or of other labels of it", where=str(folder), fix=MAKE_GOLDEN)
    check_tables(params, corpus.layout, golden, folder)


def check_router(router: Router, golden: Table, folder: Path) -> None:
    """Hold the router in a folder against the golden table.

    Raises:
        MukiError: Another one made it.
    """
    facts = golden.facts
    is_its_own = router.key == facts.get("router", router.key)  # older versions do not tell
    if not is_its_own or router.teachers != facts["teachers"] or router.scorer != facts["integrate"]["scorer"]:
        raise MukiError("belongs to another golden table", where=str(folder), fix=MAKE_GOLDEN)


def golden_key(facts: Mapping[str, Any], router: str, features: Features | None) -> str:
    """SHA-256 of everything that determines a golden table.

    Args:
        facts: See `golden_facts`.
        router: The router's key, which stands for the labels, embeddings and answers.
        features: The teachers' features, where they are read.
    """
    read = {} if features is None else features.shards
    shards = {name: [shard.sha256 for shard in each] for name, each in read.items()}
    return canonical_key({**facts, "router": router, "features": shards})


def find_golden(folder: Path, kept: Path, key: str) -> dict[str, Any] | None:
    """What the manifest of the table with this key says, if it is finished: in its folder, or kept; None else.

    Args:
        folder: Where it belongs.
        kept: Where the last one is kept, for whoever has removed the folder; it is published from there.
        key: See `golden_key`.
    """
    for place in (folder, kept):
        if not is_finished(place):
            continue
        try:
            table = Table.open(place, MAKE_GOLDEN)
        except MukiError:  # damaged: it is made anew
            continue
        is_whole = "tables" in table.facts and all(shard.is_intact() for shard in table.shards)
        if table.facts.get("key") == key and is_whole:  # older versions did not tell the tables
            if place != folder:
                publish(folder, table.shards, table.facts)
            return table.facts
    return None


def target_columns(settings: Integrate) -> list[str]:
    """The columns of a label shard that targets are made of."""
    return ["logits"] if settings.teacher_distribution == "deterministic" else ["logits", "probs"]


def targets(
    scores: NDArray[np.floating],
    labels: Sequence[LabelShard],
    label_space: LabelSpace,
    settings: Integrate,
    temperature: float,
    sharpening: NDArray[np.float64],
) -> tuple[NDArray[np.float32], list[NDArray[np.floating]]]:
    """Golden targets of one shard, `[rows, union]`, and each teacher's distributions, `[rows, its labels]`.

    Args:
        scores: `[rows, teachers]`.
        labels: The teachers' label shards; `target_columns` are read.
        label_space: The union of their labels.
        settings: The `integrate` block.
        temperature: T of the teachers' softmax (the student's `temperature`).
        sharpening: `[teachers]`, see `Router.sharpening`.
    """
    strategy = STRATEGIES[settings.strategy]
    # What weighs teachers by their energies takes their logits as they are.
    factors = np.ones_like(sharpening) if strategy.reads_energies else sharpening
    distributions = [
        _distribution(shard, settings, temperature, factor)
        for shard, factor in zip(labels, factors.tolist(), strict=True)
    ]
    energies = np.empty_like(scores)
    if strategy.reads_energies:
        energies = np.stack([energy(shard.logits / temperature) for shard in labels], axis=1)
    weights = strategy.weigh(scores, energies, settings.temperature)
    is_silent = np.stack([shard.is_silent for shard in labels], axis=1)
    weights = voting(np.asarray(weights, dtype=np.float64), is_silent, is_posterior=True)
    return golden_targets(weights, distributions, label_space), distributions


def _distribution(shard: LabelShard, settings: Integrate, temperature: float, factor: float) -> NDArray[np.floating]:
    """A teacher's distribution, `[rows, its labels]`."""
    if settings.teacher_distribution == "deterministic":
        return softmax(shard.logits * factor, temperature)
    power = factor / temperature
    return shard.probs if power == 1.0 else sharpened(shard.probs, power)


def answered(target: NDArray[np.float32], anchors: Anchors | None) -> None:
    """Put a person's answers in their texts' targets `[rows, union]`: the label is known, whatever the teachers say."""
    if anchors is not None:
        target[anchors.rows] = np.eye(target.shape[1], dtype=np.float32)[anchors.columns]


def with_unknown(target: NDArray[np.float32], is_foreign: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Targets `[rows, union + 1]`: texts that no teacher knows are taught as the last label, the others never."""
    found = np.zeros((len(target), target.shape[1] + 1), dtype=np.float32)
    found[:, :-1] = target * ~is_foreign[:, None]
    found[:, -1] = is_foreign
    return found


@dataclass(frozen=True)
class GoldenRows:
    """One shard of a golden table.

    Attributes:
        texts: `id`, `text`.
        scores: `[rows, teachers]`.
        margins: `[rows]`, see `teacher_margins`.
        target: `[rows, union]`, each row sums to 1.
        weights: `[rows]`.
        teacher_targets: `[rows, labels of all teachers]` for a loss that needs them, else None; 0 where one has no
            answer.
        teacher_features: `[rows, features of all teachers]` for a loss that needs them, else None.
    """

    texts: pa.Table
    scores: NDArray[np.floating]
    margins: NDArray[np.float64]
    target: NDArray[np.float32]
    weights: NDArray[np.floating]
    teacher_targets: NDArray[np.float32] | None = None
    teacher_features: NDArray[np.float32] | None = None

    def write(self, store: Store, number: int, teachers: Sequence[str], facts: Mapping[str, Any]) -> Shard:
        """Write them.

        Args:
            store: The table's.
            number: Which shard.
            teachers: The teachers' names.
            facts: For the footer; everything that determines the shard.
        """
        best = best_teacher(self.scores).astype(np.int32)
        columns: tuple[schema.Column, ...] = schema.GOLDEN
        widths = {"union": self.target.shape[1], "teachers": len(teachers)}
        values = {
            "id": self.texts["id"],
            "text": self.texts["text"],
            "target": fixed_size_lists(self.target),
            "weight": pa.array(self.weights.astype(np.float32)),
            "teacher": pa.DictionaryArray.from_arrays(best, list(teachers)).dictionary_decode(),
            "margin": pa.array(self.margins.astype(np.float32)),
            "scores": fixed_size_lists(self.scores.astype(np.float32)),
        }
        extras = ((schema.TEACHER_TARGETS, self.teacher_targets), (schema.TEACHER_FEATURES, self.teacher_features))
        for column, extra in extras:
            if extra is not None:
                columns = (*columns, column)
                values[column.name] = fixed_size_lists(extra)
                widths[str(column.type)] = extra.shape[1]
        table = schema.arrow_table(columns, values, **widths)
        return store.write(part_name(number), table, canonical_key(facts), facts)
