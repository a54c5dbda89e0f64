"""What the student, the routed teachers and the golden supervision are worth, where gold labels are known."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from muki_pipeline.config import POSTERIORS, Integrate, Params
from muki_pipeline.errors import MukiError
from muki_pipeline.evaluation import metrics
from muki_pipeline.evaluation.drift import measure_drift
from muki_pipeline.evaluation.gold_labels import (
    TestSet,
    gold_rows,
    read_corpus_gold,
    read_test,
)
from muki_pipeline.evaluation.predict import (
    accuracy_among,
    open_student,
    predict_student,
    stored_predictions,
    student_measures,
    unknown_measures,
)
from muki_pipeline.evaluation.routed_teachers import RoutedTeachers, open_routed_teachers
from muki_pipeline.freshness import check_made
from muki_pipeline.labels.space import LabelSpace
from muki_pipeline.labels.tables import open_labelled_corpus
from muki_pipeline.layout import MAKE_CORPUS, Layout, open_golden
from muki_pipeline.progress import SILENT, Progress
from muki_pipeline.routing.answers import read_answers
from muki_pipeline.routing.embeddings import open_embeddings
from muki_pipeline.routing.inputs import RoutingInputs, lacking
from muki_pipeline.routing.router import load_or_fit
from muki_pipeline.routing.scorers import SCORERS
from muki_pipeline.store import files
from muki_pipeline.store.columns import arrow, series
from muki_pipeline.store.folder import FolderStore
from muki_pipeline.store.store import Store
from muki_pipeline.store.table import is_finished
from muki_pipeline.supervision.golden_table import answered, check_router, targets
from muki_pipeline.supervision.strategies import STRATEGIES, best_teacher

_LOG = logging.getLogger(__name__)
LABEL_COLUMNS = ("probs", "logits", "entropy", "expected_entropy")
HISTOGRAM_BINS = 25


@dataclass(frozen=True)
class Evaluation:
    """The result of `evaluate`.

    Attributes:
        metrics: The content of data/metrics.json; what cannot be measured is absent.
        confusion: `actual`, `predicted`, a row per test text; empty without a test set.
        reliability: `confidence`, `accuracy`, `rows`, a row per bin that is not empty; empty without a test set.
        uncertainty: `scorer`, `teacher` ("right" or "wrong"), `uncertainty` (bin centre), `share`; empty without gold.
    """

    metrics: dict[str, Any]
    confusion: pl.DataFrame
    reliability: pl.DataFrame
    uncertainty: pl.DataFrame


def evaluate(params: Params, layout: Layout, progress: Progress = SILENT) -> Evaluation:
    """Measure everything that the gold labels at hand allow.

    Args:
        params: All settings.
        layout: Where the tables, the teachers and the student lie.
        progress: Counts the texts that networks read.

    Raises:
        MukiError: There is neither a test set nor gold labels of the corpus; a table is missing or does not fit; the
            golden table was made with other settings or from other tables, or the student learned from another one, or
            with other settings.
    """
    if not files.exists(layout.test) and not files.exists(layout.corpus_gold):
        named = params.prepare.test is not None or params.prepare.corpus.label is not None
        fix = "Name a test set (prepare.test) or the corpus's label column (prepare.corpus.label)"
        raise MukiError(
            "there are no gold labels, so nothing can be measured",
            where=str(layout.gold),
            fix=MAKE_CORPUS if named else fix,
        )
    if is_finished(layout.golden):
        check_made(params, layout, open_golden(layout.golden), layout.golden)
    with files.only_one(layout.work / "evaluate.lock", "evaluating"):
        return _evaluate(params, layout, progress)


def _evaluate(params: Params, layout: Layout, progress: Progress) -> Evaluation:
    measured: dict[str, Any] = {}
    confusion, reliability, uncertainty = pl.DataFrame(), pl.DataFrame(), pl.DataFrame()
    if files.exists(layout.corpus_gold) and (supervision := _measure_supervision(params, layout)):
        measured["corpus"], uncertainty = supervision.metrics, supervision.uncertainty
    if files.exists(layout.test):
        test = _measure_test_set(params, layout, progress)
        measured.update(test.metrics)
        confusion, reliability = test.confusion, test.reliability
        measured |= measure_drift(layout)
    return Evaluation(measured, confusion, reliability, uncertainty)


@dataclass(frozen=True)
class ScorerShard:
    """One scorer's supervision of one shard against the gold labels.

    Attributes:
        scores: `[known rows, teachers]`.
        is_right: `[known rows]`, whether the target's largest probability is the gold label's.
        nats: `[known rows]`, KL(gold ‖ target).
        familiarity: `[rows]`, of every row with a gold label, known or not: the gate's own, else the best score.
        is_heard: `[known rows, teachers]`, whether a teacher has an answer.
    """

    scores: NDArray[np.floating]
    is_right: NDArray[np.bool_]
    nats: NDArray[np.float64]
    familiarity: NDArray[np.floating]
    is_heard: NDArray[np.bool_]


@dataclass(frozen=True)
class SupervisionResult:
    """Measures of every scorer, and the histogram behind MUKI's Figure 2.

    Attributes:
        metrics: The block `corpus` of data/metrics.json.
        uncertainty: See `Evaluation`.
    """

    metrics: dict[str, Any]
    uncertainty: pl.DataFrame


def _measure_supervision(params: Params, layout: Layout) -> SupervisionResult | None:
    """Teacher selection and golden targets against the corpus's gold labels, for every scorer, shard by shard."""
    corpus = open_labelled_corpus(params, layout)
    gold = read_corpus_gold(layout)
    embeddings = open_embeddings(params, layout, corpus)
    answers = read_answers(params.integrate.answers, layout.root, corpus.label_space)
    inputs = {
        name: RoutingInputs(
            name,
            corpus,
            embeddings if scorer.reads_texts else None,
            answers if name == params.integrate.scorer else None,
        )
        for name, scorer in SCORERS.items()
        if not lacking(corpus, scorer.needs)
    }
    routers = {name: load_or_fit(each, layout) for name, each in inputs.items()}
    shards: dict[str, list[ScorerShard]] = {scorer: [] for scorer in routers}
    right_teachers, known_rows = [], []
    for number in range(len(corpus.shards)):
        texts = corpus.read(number)
        ids = texts["id"].to_pylist()
        has_gold = np.array([text_id in gold for text_id in ids])  # texts of `prepare.extra` have none
        labels = corpus.tables.read_checked(number, LABEL_COLUMNS, series(texts["id"]))
        rows = gold_rows(ids, gold, corpus.label_space)
        right_teachers.append(corpus.label_space.known[rows.columns])
        known_rows.append(rows.known[has_gold])
        for scorer, router in routers.items():
            outputs = inputs[scorer].outputs(number, texts, labels)
            scores = router(outputs)
            settings = _with_scorer(params.integrate, scorer)
            target, _ = targets(
                scores, labels, corpus.label_space, settings, params.student.temperature, router.sharpening
            )
            answered(target, outputs.anchors)
            known_target = target[rows.known]
            shards[scorer].append(
                ScorerShard(
                    scores[rows.known],
                    known_target.argmax(axis=1) == rows.columns,
                    metrics.kl_to_gold(known_target, rows.columns),
                    (router.familiarity(outputs) if scorer == "gate" else scores.max(axis=1))[has_gold],
                    ~outputs.is_silent[rows.known],
                )
            )
    right = np.concatenate(right_teachers)  # [known rows, teachers]
    if not len(right):
        unknown = MukiError(
            "no teacher knows any of its labels", where=str(layout.corpus_gold), fix="Set integrate.aliases"
        )
        if not files.exists(layout.test):
            raise unknown
        _LOG.warning("%s", unknown)
        return None
    with_gold = sum(len(known) for known in known_rows)
    measured: dict[str, Any] = {"rows": with_gold, "rows_of_known_labels": len(right)}
    measured |= {scorer: _scorer_measures(parts, right, np.concatenate(known_rows)) for scorer, parts in shards.items()}
    heard = {scorer: _heard(parts, right) for scorer, parts in shards.items()}
    drawn = [_histogram(scorer, 1.0 - scores, is_right) for scorer, (scores, is_right) in heard.items() if len(scores)]
    return SupervisionResult(measured, pl.concat(drawn) if drawn else pl.DataFrame())


def _scorer_measures(
    shards: Sequence[ScorerShard], right: NDArray[np.bool_], known: NDArray[np.bool_]
) -> dict[str, float]:
    """One scorer's measures; a measure that cannot be taken is absent."""
    scores = np.concatenate([shard.scores for shard in shards])
    heard, is_right = _heard(shards, right)
    nats = np.concatenate([shard.nats for shard in shards])
    measures = {
        "right_teacher_best": float(right[np.arange(len(right)), best_teacher(scores)].mean()),
        "right_teacher_auroc": metrics.auroc(heard, is_right),
        "target_accuracy": float(np.concatenate([shard.is_right for shard in shards]).mean()),
        "target_kl_to_gold": float(nats.mean()) if np.isfinite(nats).all() else None,
        # How well familiarity tells texts that some teacher knows from those that none does.
        "known_text_auroc": metrics.auroc(np.concatenate([shard.familiarity for shard in shards]), known),
    }
    return {name: value for name, value in measures.items() if value is not None}


def _heard(shards: Sequence[ScorerShard], right: NDArray[np.bool_]) -> tuple[NDArray[np.floating], NDArray[np.bool_]]:
    """Score of every (text, teacher) pair with an answer, and whether the teacher is a right one."""
    is_heard = np.concatenate([shard.is_heard for shard in shards])
    return np.concatenate([shard.scores for shard in shards])[is_heard], right[is_heard]


def _with_scorer(settings: Integrate, scorer: str) -> Integrate:
    """The settings with another scorer, and with the paper's weights if its scores are no posterior."""
    changes: dict[str, Any] = {"scorer": scorer}
    if STRATEGIES[settings.strategy].needs_posterior and scorer not in POSTERIORS:
        changes["strategy"] = "soft"
    return settings.model_copy(update=changes)


def _histogram(scorer: str, uncertainty: NDArray[np.floating], right: NDArray[np.bool_]) -> pl.DataFrame:
    """Shares of right and of wrong (text, teacher) pairs by uncertainty, 1 - score: MUKI, Figure 2."""
    # Each scorer has its own range: mutual information stays far below what entropy reaches.
    lowest = min(float(uncertainty.min()), 0.0)
    edges = np.linspace(lowest, max(float(uncertainty.max()), lowest + 1e-6), HISTOGRAM_BINS + 1)
    centres = (edges[:-1] + edges[1:]) / 2
    panels = []
    for name, chosen in (("right", right), ("wrong", ~right)):
        counts, _ = np.histogram(uncertainty[chosen], bins=edges)
        share = counts / max(counts.sum(), 1)
        panels.append(pl.DataFrame({"scorer": scorer, "teacher": name, "uncertainty": centres, "share": share}))
    return pl.concat(panels)


@dataclass(frozen=True)
class TestSetResult:
    """What the test set says.

    Attributes:
        metrics: The blocks `student`, `teachers` and `routed_teachers` of data/metrics.json.
        confusion: See `Evaluation`.
        reliability: See `Evaluation`.
    """

    __test__ = False  # not for pytest
    metrics: dict[str, Any]
    confusion: pl.DataFrame
    reliability: pl.DataFrame


def _measure_test_set(params: Params, layout: Layout, progress: Progress) -> TestSetResult:
    """Student, single teachers and routed teachers on the test set; answers that are stored are not computed again."""
    routed = open_routed_teachers(params, layout)
    unknown, store = params.integrate.unknown_label, FolderStore(layout.work / "predictions")
    label_space = routed.router.label_space.with_unknown(unknown)
    test, student = read_test(layout, label_space, unknown), open_student(layout.student, label_space.labels)
    if is_finished(layout.golden):
        student.check_taught(layout.golden)
        check_router(routed.router, open_golden(layout.golden), layout.router)
    student.check_settings(params.student)
    student_key = student.key(params.student.max_length)
    probs = stored_predictions(
        student_key, test.texts, store, lambda texts: predict_student(student, texts, params, progress)
    )
    predicted = probs.argmax(axis=1)
    is_answered = routed.is_answered(test.texts["text"].to_list())
    may_be_asked = is_answered & label_space.known[test.columns].any(axis=1)
    sampled = _sample(test.texts["label"], may_be_asked, params.evaluate.routing_rows_per_label)
    asked = test.texts.filter(sampled)
    measured: dict[str, Any] = {
        "test_set": test.described(label_space.labels)
        | ({} if is_answered.all() else {"rows_not_asked_of_teachers": int((~is_answered).sum())}),
        "student": {
            "rows": len(test.texts),
            **student_measures(probs, test.columns, label_space, list(routed.teachers)),
            **({} if unknown is None else unknown_measures(predicted, test.columns, len(label_space.labels) - 1)),
        },
        "teachers": _measure_teachers(routed, label_space, test, probs, store, progress),
    }
    if sampled.any():
        answers = stored_predictions(routed.key, asked, store, lambda texts: routed.probs(texts, progress))
        measured["routed_teachers"] = {
            "rows": int(sampled.sum()),
            "accuracy": metrics.accuracy(answers.argmax(axis=1), test.columns[sampled]),
            "student_accuracy_on_these": metrics.accuracy(predicted[sampled], test.columns[sampled]),
        }
    names = np.array(label_space.labels)
    confidence, accuracy, rows = metrics.reliability(probs, test.columns)
    bins = pl.DataFrame({"confidence": confidence, "accuracy": accuracy, "rows": rows}).filter(pl.col("rows") > 0)
    confusion = pl.DataFrame({"actual": names[test.columns], "predicted": names[predicted]})
    return TestSetResult(measured, confusion, bins)


def _measure_teachers(
    routed: RoutedTeachers,
    label_space: LabelSpace,
    test: TestSet,
    probs: NDArray[np.float32],
    store: Store,
    progress: Progress,
) -> dict[str, dict[str, float]]:
    """Each teacher alone, on the test texts of its own labels that it answers; and the student, `probs`, on these."""
    known_by = label_space.known[test.columns]  # [rows, teachers]
    asked, measured = arrow(test.texts.select("id", "text")), {}
    for number, (name, teacher) in enumerate(routed.teachers.items()):
        rows = known_by[:, number] & teacher.is_answered(asked)
        if rows.any():
            answer = partial(routed.logits, name, progress)
            logits = stored_predictions(teacher.plain_key, test.texts.filter(rows), store, answer)
            own, gold, student = label_space.columns[number], test.columns[rows], probs[rows]
            measured[name] = {
                "rows": len(logits),
                "own_block_accuracy": metrics.accuracy(own[logits.argmax(axis=1)], gold),
                "student_accuracy_on_these": metrics.accuracy(student.argmax(axis=1), gold),
                "student_own_block_accuracy_on_these": accuracy_among(student, own, gold),
            }
    return measured


def _sample(labels: pl.Series, among: NDArray[np.bool_], per_label: int | None) -> NDArray[np.bool_]:
    """The first of these rows of each label, as many as are asked for; all of them by default."""
    if per_label is None:
        return among
    before = pl.DataFrame({"label": labels, "among": among}).select(pl.col("among").cum_sum().over("label"))[:, 0]
    return np.asarray(among & (before <= per_label).to_numpy(), dtype=bool)
