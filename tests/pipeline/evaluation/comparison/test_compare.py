import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from muki_pipeline import config
from muki_pipeline.errors import MukiError
from muki_pipeline.evaluation.comparison.compare import Comparison, _obstacle, compare
from muki_pipeline.evaluation.comparison.rules import RULES, SUPERVISED
from muki_pipeline.evaluation.gold_labels import read_corpus_gold
from muki_pipeline.labels.tables import open_labelled_corpus
from muki_pipeline.store.columns import arrow
from muki_pipeline.store.table import write_table_file
from muki_pipeline.supervision.integrate import integrate
from tests import tiny
from tests.recorder import Recorder

RULES_COMPARED = ["muki", "concat", "uhc", "gate", SUPERVISED]


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that is labelled, and whose teachers are gone."""
    root = tmp_path_factory.mktemp("compared")
    path = tiny.save_project(root, compare={"rules": RULES_COMPARED, "seeds": [0, 1]})
    tiny.label(path)
    for name in tiny.TEACHER_LABELS:
        shutil.rmtree(root / "models" / name)
    return path


def run(path: Path) -> tuple[Comparison, list[str]]:
    params, layout = config.load(path)
    recorder = Recorder()
    comparison = compare(params, layout, recorder)
    return comparison, [task.name for task in recorder.tasks if task.unit == "steps"]


@pytest.fixture(scope="module")
def compared(labelled: Path) -> tuple[Comparison, list[str]]:
    return run(labelled)


def test_every_rule_and_seed_has_a_student(compared: tuple[Comparison, list[str]]) -> None:
    found, trained = compared
    assert sorted(trained) == sorted(f"student of {rule}, seed {seed}" for rule in RULES_COMPARED for seed in (0, 1))
    frame = found.students
    assert frame.select("rule", "seed").rows() == [(rule, seed) for rule in RULES_COMPARED for seed in (0, 1)]
    assert frame["accuracy"].is_between(0, 1).all()
    assert (frame["seconds"] > 0).all()
    assert set(frame.filter(pl.col("teacher_selection").is_null())["rule"]) == {"concat", "uhc", SUPERVISED}
    assert len(found.tests) == 10
    assert found.tests["p_value"].is_between(0, 1).all()


def test_what_is_finished_is_not_trained_again(labelled: Path, compared: tuple[Comparison, list[str]]) -> None:
    again, trained = run(labelled)
    assert trained == []
    assert again.students.equals(compared[0].students)
    assert again.tests.equals(compared[0].tests)


def test_supervision_is_measured_as_evaluate_measures_it(
    labelled: Path, compared: tuple[Comparison, list[str]]
) -> None:
    params, layout = config.load(labelled)
    gold = pl.read_parquet(layout.corpus_gold)["label"]
    labels = [label for known in tiny.TEACHER_LABELS.values() for label in known]
    muki = params.model_copy(update={"integrate": params.integrate.model_copy(update=RULES["muki"][0])})
    integrate(muki, layout, layout.root / "muki")
    golden = pl.read_parquet(layout.root / "muki" / "*.parquet")
    target = golden["target"].to_numpy()
    columns = np.array([labels.index(label) for label in gold])
    row = compared[0].students.filter(pl.col("rule") == "muki").row(0, named=True)
    assert row["supervision_accuracy"] == pytest.approx((target.argmax(axis=1) == columns).mean())
    known = [set(labels) for labels in tiny.TEACHER_LABELS.values()]
    chosen = golden["scores"].to_numpy().argmax(axis=1)
    right = [label in known[teacher] for label, teacher in zip(gold, chosen, strict=True)]
    assert 0 < sum(right) < len(right), "a constant would be right too"
    assert row["teacher_selection"] == pytest.approx(np.mean(right))
    assert row["kl_to_gold"] == pytest.approx(-np.log(target[np.arange(len(columns)), columns]).mean(), rel=1e-5)


def test_an_unknown_rule_is_refused(labelled: Path) -> None:
    params, layout = config.load(labelled)
    changed = params.model_copy(update={"compare": config.Compare(rules=["mucki"])})
    with pytest.raises(MukiError, match="there is no rule 'mucki'"):
        compare(changed, layout)


@pytest.mark.parametrize(
    ("rule", "why"),
    [("dfa", "it needs label.features"), (SUPERVISED, "the corpus has no gold labels that a teacher knows")],
)
def test_a_rule_that_cannot_be_is_refused_before_any_student(
    labelled: Path, tmp_path: Path, rule: str, why: str
) -> None:
    shutil.copytree(labelled.parent, tmp_path / "p")
    params, layout = config.load(tmp_path / "p" / "params.yaml")
    gold = pl.DataFrame({"id": ["x"], "label": ["unheard of"]})
    write_table_file(layout.corpus_gold, arrow(gold))
    changed = params.model_copy(update={"compare": config.Compare(rules=["muki", rule])})
    recorder = Recorder()
    with pytest.raises(MukiError, match=rf"compare\.rules: {rule}: {why}\. Leave this rule out"):
        compare(changed, layout, recorder)
    assert not recorder.tasks


def test_a_seed_that_occurs_twice_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"these seeds occur more than once: \[0\]"):
        config.Compare(seeds=[0, 1, 0])


def test_rules_that_cannot_be_are_left_out_where_nobody_named_them(tmp_path: Path) -> None:
    path = tiny.save_project(tmp_path, compare={"seeds": [0]})
    tiny.label(path)
    params, layout = config.load(path)  # features are asked for after the teachers were labelled
    params = params.model_copy(update={"label": params.label.model_copy(update={"features": True})})
    corpus, gold = open_labelled_corpus(params, layout), read_corpus_gold(layout)
    assert "features" in _obstacle("dfa", params, corpus, gold)
    assert not _obstacle("concat", params, corpus, gold)


def test_gold_labels_that_no_teacher_knows_measure_nothing(labelled: Path, tmp_path: Path) -> None:
    shutil.copytree(labelled.parent, tmp_path / "p")
    path = tmp_path / "p" / "params.yaml"
    params, layout = config.load(path)
    gold = pl.read_parquet(layout.corpus_gold).with_columns(label=pl.lit("unheard of"))
    write_table_file(layout.corpus_gold, arrow(gold))
    changed = params.model_copy(update={"compare": config.Compare(rules=["muki"], seeds=[0])})
    [row] = compare(changed, layout).students.rows(named=True)
    assert row["accuracy"] is not None
    assert [row[name] for name in ("supervision_accuracy", "teacher_selection", "kl_to_gold")] == [None] * 3
