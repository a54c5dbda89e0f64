"""A student per rule and seed from the stored labels, all measured alike, and which differences exceed chance."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from muki_pipeline.config import Params, StudentSettings
from muki_pipeline.errors import MukiError, choice, shortlist
from muki_pipeline.evaluation import metrics
from muki_pipeline.evaluation.comparison.rules import RULES, SUPERVISED
from muki_pipeline.evaluation.comparison.significance import paired_tests
from muki_pipeline.evaluation.comparison.students import StudentJob, StudentProcesses
from muki_pipeline.evaluation.gold_labels import TestSet, gold_rows, read_corpus_gold, read_test
from muki_pipeline.evaluation.predict import student_measures
from muki_pipeline.labels.space import LabelSpace
from muki_pipeline.labels.tables import LabelledCorpus, open_features, open_labelled_corpus
from muki_pipeline.layout import Layout, open_golden
from muki_pipeline.progress import SILENT, Progress
from muki_pipeline.routing.inputs import lacking
from muki_pipeline.routing.scorers import SCORERS
from muki_pipeline.store import files, folders, schema
from muki_pipeline.store.columns import matrix
from muki_pipeline.store.folder import FolderStore
from muki_pipeline.store.keys import canonical_key
from muki_pipeline.store.store import Shard
from muki_pipeline.store.table import seal, unseal
from muki_pipeline.supervision.golden_table import GoldenRows, golden_facts
from muki_pipeline.supervision.integrate import integrate
from muki_pipeline.supervision.strategies import STRATEGIES, teacher_margins
from muki_pipeline.training.finished import settled
from muki_pipeline.training.student.plan import training_key


@dataclass(frozen=True)
class Comparison:
    """The result of `compare`.

    Attributes:
        students: A row per rule and seed: `rule`, `seed`, `accuracy`, `macro_f1`, `accuracy_TEACHER`,
            `expected_calibration_error`, `supervision_accuracy`, `teacher_selection`, `kl_to_gold` (nats), `seconds`;
            null for what cannot be measured.
        tests: A row per pair of rules: `rule`, `other`, `difference` of accuracy, `p_value`.
    """

    students: pl.DataFrame
    tests: pl.DataFrame


TargetsOf = Callable[[list[str]], NDArray[np.float32]]
"""Targets `[rows, union]` of the texts with these ids; a row of zeros leaves its text out."""


def compare(
    params: Params, layout: Layout, progress: Progress = SILENT, others: Mapping[str, TargetsOf] | None = None
) -> Comparison:
    """Train and measure a student for every rule and seed that has none yet. No teacher is loaded.

    A finished student's test predictions are stored in the work folder under a key of its golden table, its settings,
    the files of the model it starts from and the test set, so that it is never trained again. Students, of
    different rules too, are trained at once where there is room, see `StudentProcesses`.

    Args:
        params: All settings; `compare` says which rules and seeds.
        layout: Where the tables lie.
        progress: Counts every golden table, training and prediction.
        others: Students besides those of the rules, by name, of other targets.

    Raises:
        MukiError: There is no test set, or a rule is named that needs what is not stored; see `integrate` and
            `train_student`.
    """
    if unknown := sorted(set(params.compare.rules or []) - {*RULES, SUPERVISED}):
        fix = choice(unknown[0], [*RULES, SUPERVISED])
        raise MukiError(f"there is no rule {shortlist(unknown)}", where="compare.rules", fix=fix)
    # Rules differ in how they mix teachers, who do not know this label.
    integration = params.integrate.model_copy(update={"unknown_label": None})
    params = params.model_copy(update={"integrate": integration})
    corpus = open_labelled_corpus(params, layout)
    gold = read_corpus_gold(layout)
    rules = params.compare.rules
    obstacles = {rule: _obstacle(rule, params, corpus, gold) for rule in rules or [*RULES, SUPERVISED]}
    if rules is None:
        rules = [rule for rule, obstacle in obstacles.items() if not obstacle]
    for rule in rules:
        if obstacle := obstacles[rule]:  # not hours later, when its turn comes
            raise MukiError(obstacle, where=f"compare.rules: {rule}", fix="Leave this rule out")
    test = read_test(layout, corpus.label_space)
    # The processes end before their golden tables are removed.
    lock = files.only_one(layout.work / "compare.lock", "comparing")
    with lock, ExitStack() as scratch, StudentProcesses() as processes:
        targets = {SUPERVISED: gold_targets(gold, corpus.label_space), **(others or {})}
        comparer = _Comparer(params, layout, corpus, gold, test, targets, processes, progress)
        results = comparer.run(list(dict.fromkeys([*rules, *(others or {})])), scratch)
        files.remove([comparer.students])  # of a run that was killed
    students = pl.concat([result.students for result in results.values()], how="diagonal")
    return Comparison(students, paired_tests({rule: result.right for rule, result in results.items()}))


def _obstacle(rule: str, params: Params, corpus: LabelledCorpus, gold: dict[str, str]) -> str:
    """Why there can be no student of a rule, by what is stored; empty where there can be one."""
    if rule == SUPERVISED:
        known = gold_rows(list(gold), gold, corpus.label_space).known
        return "" if known.any() else "the corpus has no gold labels that a teacher knows"
    changes, _ = RULES[rule]
    strategy = STRATEGIES[changes["strategy"]]
    if strategy.keeps_teachers_apart and params.integrate.answers is not None:
        return "it would not learn from integrate.answers, as the others do"
    if strategy.reads_features and not params.label.features:
        return "it needs label.features"
    needs = tuple(dict.fromkeys((*SCORERS[changes["scorer"]].needs, *(["logits"] if strategy.reads_energies else []))))
    if missing := lacking(corpus, needs):
        return f"it needs {' and '.join(needs)}, which {shortlist(missing)} does not give"
    if strategy.reads_features:
        try:
            open_features(corpus.tables, corpus.shards)
        except MukiError as error:
            return f"{error.where} {error.what}"
    return ""


@dataclass(frozen=True)
class _RuleResult:
    """The students of one rule.

    Attributes:
        students: A row per seed.
        right: `[test texts]`, the share of seeds whose student is right.
    """

    students: pl.DataFrame
    right: NDArray[np.float64]


@dataclass(frozen=True)
class _RuleTable:
    """A rule's golden table while its students are trained.

    Attributes:
        jobs: The students, in the order of the seeds.
        supervision: What the table is worth, see `Comparison.students`.
        scratch: Holds the table; closed, it removes it.
    """

    jobs: list[StudentJob]
    supervision: dict[str, float | None]
    scratch: ExitStack


@dataclass(frozen=True)
class _Comparer:
    """What the rules of one comparison have in common.

    Attributes:
        params: All settings.
        layout: Where the tables lie.
        corpus: The corpus and its label tables.
        gold: Gold label of each id of the corpus, empty where they are not known.
        test: The test set.
        targets: Those of the students that no rule makes, by name.
        processes: Train the students.
        progress: Counts the work.
    """

    params: Params
    layout: Layout
    corpus: LabelledCorpus
    gold: dict[str, str]
    test: TestSet
    targets: Mapping[str, TargetsOf]
    processes: StudentProcesses
    progress: Progress

    @property
    def _work(self) -> Path:
        return self.layout.work / "compare"

    @property
    def students(self) -> Path:
        """Where students lie until their predictions are stored."""
        return self._work / "students"

    def run(self, rules: Sequence[str], scratch: ExitStack) -> dict[str, _RuleResult]:
        """Integrate by each rule, then train and measure a student for every seed.

        A rule's golden table is made when there is a process for its first student, and removed after its last one, or
        with `scratch`.
        """
        seeds, results = len(self.params.compare.seeds), dict[str, _RuleResult]()
        tables: dict[str, _RuleTable] = {}
        left = dict.fromkeys(rules, seeds)
        for job in self.processes.run(self._jobs(rules, tables, scratch), seeds * len(rules), self.progress):
            left[job.rule] -= 1
            if not left[job.rule]:
                results[job.rule] = self._result(job.rule, tables[job.rule])
                tables[job.rule].scratch.close()
        return {rule: results[rule] for rule in rules}

    def _jobs(self, rules: Sequence[str], tables: dict[str, _RuleTable], scratch: ExitStack) -> Iterator[StudentJob]:
        """The students of one rule after the other; each rule's table is noted in `tables`."""
        for rule in rules:
            tables[rule] = self._table(rule, scratch.enter_context(ExitStack()))
            yield from tables[rule].jobs

    def _table(self, rule: str, scratch: ExitStack) -> _RuleTable:
        folder = scratch.enter_context(folders.scratch_folder(self._work / rule))
        golden = folder / "golden"
        if rule in self.targets:
            temperature, supervision = 1.0, _NOT_MEASURED
            self._write(rule, golden)
        else:
            changes, temperature = RULES[rule]
            student = self.params.student.model_copy(update={"temperature": temperature})
            rule_settings = self.params.integrate.model_copy(update=changes)
            params = self.params.model_copy(update={"student": student, "integrate": rule_settings})
            integrate(params, replace(self.layout, bucket=None), golden, self.progress)
            supervision = self._measure_supervision(golden, STRATEGIES[rule_settings.strategy].selects)
        jobs = [self._job(seed, temperature, golden, rule) for seed in self.params.compare.seeds]
        return _RuleTable(jobs, supervision, scratch)

    def _result(self, rule: str, table: _RuleTable) -> _RuleResult:
        """What the students of a rule are worth."""
        rows, right = [], []
        for job in table.jobs:
            probs, seconds = job.result()
            right.append(probs.argmax(axis=1) == self.test.columns)
            measures = student_measures(probs, self.test.columns, self.corpus.label_space, self.corpus.teachers)
            per_teacher = {f"accuracy_{name}": value for name, value in measures.pop("block_accuracy").items()}
            about = {"rule": rule, "seed": job.settings.seed}
            rows.append({**about, **measures, **per_teacher, **table.supervision, "seconds": seconds})
        columns = {name: pl.Float64 for name in rows[0] if name not in ("rule", "seed")}
        return _RuleResult(pl.DataFrame(rows, schema_overrides=columns), np.mean(right, axis=0))

    def _job(self, seed: int, temperature: float, golden: Path, rule: str) -> StudentJob:
        """The student of a golden table and a seed."""
        table = open_golden(golden)
        root, tested = self.layout.root, self.test.texts["id"].to_list()

        def predictions(each: StudentSettings) -> Path:
            facts = {"version": schema.PREDICTIONS_VERSION, "test": tested}
            key = canonical_key({"training": training_key(each, table.shards, root), **facts})
            return self._work / f"{key}.parquet"

        settings = settled(
            self.params.student.model_copy(update={"temperature": temperature, "seed": seed}),
            lambda each: files.exists(predictions(each)),
        )
        return StudentJob(
            rule=rule,
            settings=settings,
            params=self.params,
            golden=golden,
            labels=table.facts["labels"],
            texts=self.test.texts["text"].to_list(),
            folder=self.students / predictions(settings).stem,
            checkpoints=self._work / "checkpoints",
            root=root,
            predictions=predictions(settings),
        )

    def _measure_supervision(self, golden: Path, selects: bool) -> dict[str, float | None]:
        """A golden table against the corpus's gold labels; None for what cannot be measured."""
        if not self.gold:
            return _NOT_MEASURED
        right, selected, nats = [], [], []
        for shard in open_golden(golden).shards:
            table = shard.read(["id", "target", "scores"])
            rows = gold_rows(table["id"].to_pylist(), self.gold, self.corpus.label_space)
            target, scores = (matrix(table[name])[rows.known] for name in ("target", "scores"))
            right.append(target.argmax(axis=1) == rows.columns)
            selected.append(self.corpus.label_space.known[rows.columns, scores.argmax(axis=1)])
            nats.append(metrics.kl_to_gold(target, rows.columns))
        if not any(len(part) for part in right):
            return _NOT_MEASURED  # no teacher knows a gold label
        divergence = np.concatenate(nats)
        return {
            "supervision_accuracy": float(np.concatenate(right).mean()),
            "teacher_selection": float(np.concatenate(selected).mean()) if selects else None,
            "kl_to_gold": float(divergence.mean()) if np.isfinite(divergence).all() else None,
        }

    def _write(self, name: str, folder: Path) -> None:
        """A golden table of targets that no rule makes, each text with weight 1."""
        facts = golden_facts(self.params, self.corpus, "kl", 1.0) | {"integrate": {"strategy": name}}
        label_space = self.corpus.label_space
        unseal(folder)
        shards: list[Shard] = []
        for number in range(len(self.corpus.shards)):
            texts = self.corpus.read(number)
            target = self.targets[name](texts["id"].to_pylist())
            taught = target.any(axis=1)
            scores = target[taught].astype(np.float64) @ label_space.known
            supervision = GoldenRows(
                texts.filter(pa.array(taught)),
                scores=scores,
                margins=teacher_margins(scores),
                target=target[taught],
                weights=np.ones(len(scores)),
            )
            shards.append(supervision.write(FolderStore(folder), number, self.corpus.teachers, facts))
        seal(folder, shards, facts)


def gold_targets(gold: dict[str, str], label_space: LabelSpace) -> TargetsOf:
    """The gold labels of these texts; texts that are not among them are left out."""

    def targets(ids: list[str]) -> NDArray[np.float32]:
        rows = gold_rows(ids, gold, label_space)
        found = np.zeros((len(ids), len(label_space.labels)), dtype=np.float32)
        found[np.flatnonzero(rows.known), rows.columns] = 1
        return found

    return targets


_NOT_MEASURED: dict[str, float | None] = dict.fromkeys(("supervision_accuracy", "teacher_selection", "kl_to_gold"))
