"""A student per rule and seed from the stored labels, measured alike, and which differences are more than chance."""

import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from pipeline import golden, metrics, references, store
from pipeline.config import Params, Student
from pipeline.errors import MukiError, first
from pipeline.gold import read_corpus_gold, read_test
from pipeline.layout import MAKE_GOLDEN, Layout
from pipeline.predictions import Progress, predict_student, student_measures
from pipeline.rules import RULES, SELECTS_NO_TEACHER, SUPERVISED
from pipeline.student import train_student
from pipeline.training import Watch, base_digest


@dataclass(frozen=True)
class Comparison:
    """What `compare` found out.

    Attributes:
        students: A row per rule and seed: `rule`, `seed`, `accuracy`, `macro_f1`, `accuracy_TEACHER`,
            `expected_calibration_error`, `supervision_accuracy`, `teacher_selection`, `kl_to_gold` (nats), `seconds`;
            null where a measure cannot be taken.
        tests: A row per pair of rules: `rule`, `other`, `difference` of accuracy, `p_value`.
    """

    students: pl.DataFrame
    tests: pl.DataFrame


def compare(
    params: Params,
    layout: Layout,
    begin: Callable[[str, int], Progress],
    training: Callable[[str], Watch],
) -> Comparison:
    """Train and measure a student for every rule and seed that has none yet. No teacher is loaded.

    A finished student's test predictions are kept in the work folder under a key of its golden table, its settings, the
    files of the model it starts from and the test set, so that it is never trained again.

    Args:
        params: All settings; `compare` says which rules and seeds.
        layout: Where the tables lie.
        begin: Told the name and the number of texts of each piece of work, before it starts.
        training: Told the name of each student that is trained; returns what is told of every step.

    Raises:
        MukiError: There is no test set; see `integrate` and `train_student`.
    """
    _check_rules(params.compare.rules or [])
    opened = golden.open_corpus(params, layout)
    test, gold = read_test(layout, opened.vocabulary)
    corpus_gold = read_corpus_gold(layout)
    rules = params.compare.rules or [*RULES, *([SUPERVISED] if corpus_gold else [])]
    if SUPERVISED in rules and not corpus_gold:
        raise MukiError(
            "the corpus has no gold labels", where=f"compare.rules: {SUPERVISED}", fix="Leave this rule out"
        )
    rows, right = [], {}
    for rule in rules:
        work = Layout(layout.work / "compare" / rule)
        if rule == SUPERVISED:
            _write_supervised(opened, corpus_gold, work.golden)
            settings, measured = params.student.model_copy(update={"temperature": 1.0}), {}
        else:
            changes, temperature = RULES[rule]
            settings = params.student.model_copy(update={"temperature": temperature})
            changed = params.model_copy(
                update={"student": settings, "integrate": params.integrate.model_copy(update=changes)}
            )
            golden.integrate(changed, layout, work.golden, partial(begin, f"integrate by {rule}"))
            measured = _supervision(opened, corpus_gold, work.golden, changes["strategy"])
        hits = []
        for seed in params.compare.seeds:
            probs, seconds = _student(
                settings.model_copy(update={"seed": seed}),
                params,
                layout,
                work,
                test,
                f"{rule}, seed {seed}",
                begin,
                training,
            )
            hits.append(probs.argmax(axis=1) == gold)
            rows.append(
                {"rule": rule, "seed": seed, **_flat(probs, gold, opened, params), **measured, "seconds": seconds}
            )
        right[rule] = np.mean(hits, axis=0)
        shutil.rmtree(work.root)
    return Comparison(pl.DataFrame(rows, infer_schema_length=None), _tests(right))


def _check_rules(rules: Sequence[str]) -> None:
    if unknown := sorted(set(rules) - {*RULES, SUPERVISED}):
        raise MukiError(
            f"there is no rule {first(unknown)}",
            where="compare.rules",
            fix=f"Choose of {', '.join([*RULES, SUPERVISED])}",
        )


def _flat(
    probs: NDArray[np.floating], gold: NDArray[np.intp], opened: golden.Corpus, params: Params
) -> dict[str, float]:
    measures = student_measures(probs, gold, opened.vocabulary, list(params.teachers))
    blocks = {f"accuracy_{name}": value for name, value in measures.pop("block_accuracy").items()}
    return {**measures, **blocks}


def _tests(right: Mapping[str, NDArray[np.floating]]) -> pl.DataFrame:
    """Every pair of rules by the paired bootstrap over test texts, on what is right in the mean over the seeds."""
    pairs = [
        (rule, other, *metrics.paired_bootstrap(right[rule], right[other])) for rule, other in combinations(right, 2)
    ]
    schema = {"rule": pl.String, "other": pl.String, "difference": pl.Float64, "p_value": pl.Float64}
    return pl.DataFrame(pairs, schema=schema, orient="row")


def _student(
    settings: Student,
    params: Params,
    layout: Layout,
    work: Layout,
    test: pl.DataFrame,
    name: str,
    begin: Callable[[str, int], Progress],
    training: Callable[[str], Watch],
) -> tuple[NDArray[np.float32], float]:
    """Test predictions `[rows, union]` of the student of a golden table, and how many seconds its training took."""
    shards, facts = store.manifest(work.golden, MAKE_GOLDEN)
    determining = {
        "golden": [shard.sha256 for shard in shards],
        "student": settings.model_dump(),
        "base": base_digest(settings, layout.root),
        "test": test["id"].to_list(),
    }
    key = store.canonical_key(determining)
    kept = layout.work / "compare" / f"{key}.parquet"
    if not kept.exists():
        local = references.local(settings.model, layout.root)
        own = settings if local is None else settings.model_copy(update={"model": str(local)})
        start = time.perf_counter()
        train_student(own, Layout(work.root), training(name))
        seconds = time.perf_counter() - start
        labels = tuple(facts["labels"])
        texts = test["text"].to_list()
        probs = predict_student(work.student, labels, texts, params, begin).astype(np.float32)
        store.write_shard(kept, pa.table({"probs": store.fixed_size_lists(probs)}), key, {"seconds": seconds})
        shutil.rmtree(work.student)
    table = store.read_file(kept, ["probs"], "Remove it and run muki-pipeline compare again")
    return store.matrix(table["probs"]), float(store.footer(kept, "")["seconds"])


def _known(
    opened: golden.Corpus, gold: Mapping[str, str], table: pa.Table
) -> tuple[NDArray[np.bool_], NDArray[np.intp]]:
    """Which rows have a gold label that some teacher knows, and the column of each of those."""
    columns = {label: number for number, label in enumerate(opened.vocabulary.labels)}
    found = np.array([columns.get(gold.get(text_id, ""), -1) for text_id in table["id"].to_pylist()])
    return found >= 0, found[found >= 0]


def _parts(folder: Path, columns: list[str]) -> Iterator[pa.Table]:
    shards, _ = store.manifest(folder, MAKE_GOLDEN)
    for shard in shards:
        yield store.read_shard(folder, shard, MAKE_GOLDEN, columns)


def _supervision(
    opened: golden.Corpus, gold: Mapping[str, str], folder: Path, strategy: str
) -> dict[str, float | None]:
    """A golden table against the corpus's gold labels; None for what cannot be measured."""
    if not gold:
        return {"supervision_accuracy": None, "teacher_selection": None, "kl_to_gold": None}
    hits, chosen, nats = [], [], []
    for table in _parts(folder, ["id", "target", "scores"]):
        known, columns = _known(opened, gold, table)
        target, scores = store.matrix(table["target"])[known], store.matrix(table["scores"])[known]
        hits.append(target.argmax(axis=1) == columns)
        chosen.append(opened.vocabulary.known[columns, scores.argmax(axis=1)])
        nats.append(metrics.kl_to_gold(target, columns))
    lost = np.concatenate(nats)
    return {
        "supervision_accuracy": float(np.concatenate(hits).mean()),
        "teacher_selection": None if strategy in SELECTS_NO_TEACHER else float(np.concatenate(chosen).mean()),
        "kl_to_gold": float(lost.mean()) if np.isfinite(lost).all() else None,
    }


def _write_supervised(opened: golden.Corpus, gold: Mapping[str, str], folder: Path) -> None:
    """A golden table of the corpus's gold labels themselves, weight 1 each."""
    store.unseal(folder)
    written = []
    facts = {
        "labels": list(opened.vocabulary.labels),
        "teachers": {},
        "label_settings": {},
        "integrate": {"strategy": SUPERVISED},
        "temperature": 1.0,
        "corpus_digest": "",
        "rows": opened.rows,
    }
    for number in range(len(opened.shards)):
        texts = opened.read(number)
        known, columns = _known(opened, gold, texts)
        target = np.eye(len(opened.vocabulary.labels), dtype=np.float32)[columns]
        table = texts.filter(pa.array(known)).append_column("target", store.fixed_size_lists(target))
        table = table.append_column("weight", pa.array(np.ones(len(table), dtype=np.float32)))
        written.append(store.write_shard(folder / store.part_name(number), table, f"{SUPERVISED} {number}"))
    store.seal(folder, written, facts)


def undecided(comparison: pl.DataFrame, tests: pl.DataFrame, level: float = 0.05) -> Sequence[str]:
    """The best rule without gold labels by mean accuracy, and all that no test tells from it at this level."""
    means = comparison.filter(pl.col("rule") != SUPERVISED).group_by("rule").agg(pl.col("accuracy").mean())
    best: str = means.sort("accuracy", "rule", descending=[True, False])["rule"][0]
    pairs = tests.filter((pl.col("rule") == best) | (pl.col("other") == best)).filter(pl.col("p_value") >= level)
    near = {name for pair in pairs.select("rule", "other").iter_rows() for name in pair} - {best, SUPERVISED}
    return [best, *sorted(near)]
