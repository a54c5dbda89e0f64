"""What the student, the routed teachers and the golden supervision are worth, where gold labels are known."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline import corpus, golden, metrics, store
from pipeline.config import POSTERIORS, Integrate, Params
from pipeline.errors import MukiError
from pipeline.gold import read_corpus_gold, read_test
from pipeline.integration import best_teacher, golden_targets, hard_weights
from pipeline.label_store import ensure
from pipeline.labelling import Labeller, Progress
from pipeline.labels import Labels
from pipeline.layout import MAKE_CORPUS, Layout
from pipeline.predictions import predict_student, student_measures
from pipeline.scoring import SCORERS, Said
from pipeline.teachers import locate
from pipeline.uncertainty import softmax
from pipeline.vocabulary import Vocabulary, union

LABEL_COLUMNS = ("probs", "logits", "entropy", "expected_entropy")
HISTOGRAM_BINS = 25


@dataclass(frozen=True)
class Supervised:
    """Golden supervision of some texts against their gold labels.

    Attributes:
        scores: `[rows, teachers]`.
        hit: `[rows]`, whether the target's largest is the gold label.
        nats: `[rows]`, KL(gold ‖ target).
    """

    scores: NDArray[np.floating]
    hit: NDArray[np.bool_]
    nats: NDArray[np.float64]

    @classmethod
    def of(cls, scores: NDArray[np.floating], target: NDArray[np.float32], gold: NDArray[np.intp]) -> "Supervised":
        """Of `[rows, union]` targets and `[rows]` gold columns."""
        return cls(scores, target.argmax(axis=1) == gold, metrics.kl_to_gold(target, gold))


@dataclass(frozen=True)
class Evaluation:
    """All that `evaluate` found out.

    Attributes:
        metrics: What goes into data/metrics.json; a measure that cannot be taken is absent.
        confusion: `actual`, `predicted`, a row a test text; empty without a test set.
        reliability: `confidence`, `accuracy`, `rows`, a row for each bin that has any; empty without a test set.
        uncertainty: `scorer`, `teacher` ("right" or "wrong"), `uncertainty` (bin centre), `share`; empty without gold.
    """

    metrics: dict[str, Any]
    confusion: pl.DataFrame
    reliability: pl.DataFrame
    uncertainty: pl.DataFrame


def evaluate(params: Params, layout: Layout, begin: Callable[[str, int], Progress]) -> Evaluation:
    """Measure everything that the gold labels at hand allow.

    Args:
        params: All settings.
        layout: Where the tables, the teachers and the student lie.
        begin: Told the name and the number of texts of each piece of work, before it starts.

    Raises:
        MukiError: There is neither a test set nor gold labels of the corpus; a table is missing or does not fit.
    """
    if not layout.test.exists() and not layout.corpus_gold.exists():
        raise MukiError(
            "there are no gold labels, so nothing can be measured",
            where=str(layout.gold),
            fix="Name a test set (prepare.test) or the corpus's label column (prepare.corpus.label)",
        )
    measured: dict[str, Any] = {}
    confusion, reliability, uncertainty = pl.DataFrame(), pl.DataFrame(), pl.DataFrame()
    if layout.corpus_gold.exists():
        measured["corpus"], uncertainty = _supervision(params, layout)
    if layout.test.exists():
        test, confusion, reliability = _test_set(params, layout, begin)
        measured.update(test)
    return Evaluation(measured, confusion, reliability, uncertainty)


def _supervision(params: Params, layout: Layout) -> tuple[dict[str, Any], pl.DataFrame]:
    """Teacher selection and golden targets against the corpus's gold labels, for every scorer, shard by shard."""
    opened = golden.open_corpus(params, layout)
    gold = read_corpus_gold(layout)
    fitted = {scorer: golden.fit_scorer(scorer, opened) for scorer in SCORERS}
    found: dict[str, list[Supervised]] = {scorer: [] for scorer in SCORERS}
    surest: dict[str, list[NDArray[np.floating]]] = {scorer: [] for scorer in SCORERS}
    rights, knowns = [], []
    for number in range(len(opened.shards)):
        texts = opened.read(number)
        ids = texts["id"].to_pylist()
        if absent := sum(text_id not in gold for text_id in ids):
            raise MukiError(
                f"has no label for {absent} texts of the corpus", where=str(layout.corpus_gold), fix=MAKE_CORPUS
            )
        labels = opened.tables.read_checked(number, LABEL_COLUMNS, store.series(texts["id"]))
        said = Said(texts["text"].to_pylist(), labels, opened.label_counts)
        known = np.array([gold[text_id] in opened.vocabulary.labels for text_id in ids])
        columns = np.array(
            [opened.vocabulary.labels.index(gold[text_id]) for text_id in np.array(ids)[known]], dtype=int
        )
        rights.append(opened.vocabulary.known[columns])
        for scorer, score in fitted.items():
            scores = score(said)
            target, _ = golden.targets(
                scores, labels, opened.vocabulary, _with_scorer(params.integrate, scorer), params.student.temperature
            )
            found[scorer].append(Supervised.of(scores[known], target[known], columns))
            surest[scorer].append(scores.max(axis=1))
        knowns.append(known)
    right = np.concatenate(rights)
    if not len(right):
        raise MukiError("none of its labels is a teacher's", where=str(layout.corpus_gold), fix="Set integrate.aliases")
    measured: dict[str, Any] = {"rows": opened.rows, "rows_of_known_labels": len(right)}
    panels = []
    for scorer, parts in found.items():
        scores = np.concatenate([part.scores for part in parts])
        lost = np.concatenate([part.nats for part in parts])
        measured[scorer] = _present(
            {
                "right_teacher_best": float(right[np.arange(len(right)), best_teacher(scores)].mean()),
                "right_teacher_auroc": metrics.auroc(scores.ravel(), right.ravel()),
                "target_accuracy": float(np.concatenate([part.hit for part in parts]).mean()),
                "target_kl_to_gold": float(lost.mean()) if np.isfinite(lost).all() else None,
                # How well the best score tells texts that some teacher knows from those that none does.
                "known_text_auroc": metrics.auroc(np.concatenate(surest[scorer]), np.concatenate(knowns)),
            }
        )
        panels.append(_histogram(scorer, 1.0 - scores, right))
    return measured, pl.concat(panels)


def _with_scorer(settings: Integrate, scorer: str) -> Integrate:
    """The settings with another scorer, and the weights of the paper where its scores are no posterior."""
    changes: dict[str, Any] = {"scorer": scorer}
    if settings.strategy == "posterior" and scorer not in POSTERIORS:
        changes["strategy"] = "soft"
    return settings.model_copy(update=changes)


def _present(measures: Mapping[str, float | None]) -> dict[str, float]:
    """Measures without those that cannot be taken: a number is right or absent."""
    return {name: value for name, value in measures.items() if value is not None}


def _histogram(scorer: str, uncertainty: NDArray[np.floating], right: NDArray[np.bool_]) -> pl.DataFrame:
    """Shares of right and of wrong (text, teacher) pairs by uncertainty, 1 - score: MUKI, Figure 2."""
    # Each scorer on its own range: mutual information keeps to the lowest tenths of what entropy may reach.
    lowest = min(float(uncertainty.min()), 0.0)
    edges = np.linspace(lowest, max(float(uncertainty.max()), lowest + 1e-6), HISTOGRAM_BINS + 1)
    centres = (edges[:-1] + edges[1:]) / 2
    panels = []
    for name, chosen in (("right", right), ("wrong", ~right)):
        counts, _ = np.histogram(uncertainty[chosen], bins=edges)
        share = counts / max(counts.sum(), 1)
        panels.append(pl.DataFrame({"scorer": scorer, "teacher": name, "uncertainty": centres, "share": share}))
    return pl.concat(panels)


def _test_set(
    params: Params, layout: Layout, begin: Callable[[str, int], Progress]
) -> tuple[dict[str, Any], pl.DataFrame, pl.DataFrame]:
    """Student, routed teachers and single teachers on the test set."""
    labellers = {
        name: Labeller(locate(name, teacher, layout.root), params.label) for name, teacher in params.teachers.items()
    }
    vocabulary = union({name: each.files.labels for name, each in labellers.items()}, params.integrate.aliases)
    known, gold = read_test(layout, vocabulary)
    blocks = vocabulary.known[gold]
    probs = predict_student(layout.student, vocabulary.labels, known["text"].to_list(), params, begin)
    predicted = probs.argmax(axis=1)
    measured: dict[str, Any] = {
        "student": {"rows": len(known), **student_measures(probs, gold, vocabulary, list(labellers))},
        "teachers": {},
    }
    for number, (name, labeller) in enumerate(labellers.items()):
        own = blocks[:, number]
        if own.any():
            texts = known.filter(own)["text"].to_list()
            logits = labeller.logits(texts, begin(f"{name} on its own block", len(texts)))
            columns = vocabulary.columns[number][logits.argmax(axis=1)]
            measured["teachers"][name] = {
                "rows": len(texts),
                "own_block_accuracy": metrics.accuracy(columns, gold[own]),
            }
    chosen = _sample(known["label"], params.evaluate.routing_rows_per_label)
    routed = _route(params, layout, known.filter(chosen), labellers, vocabulary, begin)
    measured["routed_teachers"] = {
        "rows": int(chosen.sum()),
        "accuracy": metrics.accuracy(routed, gold[chosen]),
        "student_accuracy_on_these": metrics.accuracy(predicted[chosen], gold[chosen]),
    }
    named = np.array(vocabulary.labels)
    sure, accurate, rows = metrics.reliability(probs, gold)
    bins = pl.DataFrame({"confidence": sure, "accuracy": accurate, "rows": rows}).filter(pl.col("rows") > 0)
    return measured, pl.DataFrame({"actual": named[gold], "predicted": named[predicted]}), bins


def _sample(labels: pl.Series, per_label: int | None) -> NDArray[np.bool_]:
    """The first rows of each label, as many as are asked for; all of them by default."""
    if per_label is None:
        return np.ones(len(labels), dtype=bool)
    numbers = labels.to_frame("label").select(pl.int_range(pl.len()).over("label"))[:, 0]
    return (numbers < per_label).to_numpy()


def _route(
    params: Params,
    layout: Layout,
    rows: pl.DataFrame,
    labellers: Mapping[str, Labeller],
    vocabulary: Vocabulary,
    begin: Callable[[str, int], Progress],
) -> NDArray[np.intp]:
    """Prediction of the hard rule itself: the label of the teacher with the best score, `[rows]`.

    The rows are labelled as a corpus shard would be, and kept in the work folder: it is done once.
    """
    table = rows.select("id", "text").to_arrow(compat_level=pl.CompatLevel.oldest())
    digest = corpus.content_digest(table)
    labels = []
    for name, labeller in labellers.items():
        progress = begin(f"{name} for routing", len(rows) * (params.label.passes + 1))
        path, shard = ensure(labeller, table, digest, layout.work, progress)
        labels.append(Labels(store.read_shard(path.parent, shard, "Run muki-pipeline evaluate again")))
    said = Said(rows["text"].to_list(), labels, [len(each.files.labels) for each in labellers.values()])
    score = golden.fit_scorer(params.integrate.scorer, golden.open_corpus(params, layout))
    distributions = [softmax(each.logits) for each in labels]
    weights = hard_weights(score(said))
    predicted: NDArray[np.intp] = golden_targets(weights, distributions, vocabulary).argmax(axis=1)
    return predicted
