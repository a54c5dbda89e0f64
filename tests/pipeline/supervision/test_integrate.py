import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from muki_pipeline import config
from muki_pipeline.corpus.prepare import prepare
from muki_pipeline.corpus.table import write_corpus
from muki_pipeline.embedding.run import embed_corpus
from muki_pipeline.labelling.run import label_corpus
from muki_pipeline.layout import Layout
from muki_pipeline.routing import inputs
from muki_pipeline.routing.confidence import entropy_of_logits, softmax
from muki_pipeline.routing.gate.agreement import SLIGHT
from muki_pipeline.routing.router import Router
from muki_pipeline.store.table import Table
from muki_pipeline.supervision import integrate as stage
from tests import tiny


def label_all(path: Path) -> None:
    params, layout = config.load(path)
    for name, teacher in params.teachers.items():
        label_corpus(name, teacher, params.label, layout)


def forget(layout: Layout) -> None:
    """Remove the golden table and the router, stored ones too."""
    for folder in (layout.golden, layout.work / "golden", layout.router, layout.work / "routers"):
        shutil.rmtree(folder, ignore_errors=True)


def integrate(path: Path) -> tuple[pl.DataFrame, Layout]:
    params, layout = config.load(path)
    stage.integrate(params, layout, layout.golden)
    return pl.read_parquet(layout.golden / "*.parquet"), layout


def read_labels(layout: Layout, teacher: str) -> pl.DataFrame:
    return pl.read_parquet(layout.labels(teacher) / "*.parquet")


def test_the_golden_table_is_the_method_applied_to_the_labels(copy: Path) -> None:
    frame, layout = integrate(copy)
    labels = {name: read_labels(layout, name) for name in tiny.TEACHER_LABELS}
    texts = pl.read_parquet(layout.corpus / "*.parquet")
    assert frame.select("id", "text").equals(texts)
    scores = np.stack(
        [1 - labels[name]["entropy"].to_numpy() / np.log(len(known)) for name, known in tiny.TEACHER_LABELS.items()], 1
    )
    np.testing.assert_allclose(frame["scores"].to_numpy(), scores, atol=1e-6)
    weights = softmax(scores, 0.2)
    parts = [weights[:, [n]] * softmax(labels[name]["logits"].to_numpy()) for n, name in enumerate(labels)]
    np.testing.assert_allclose(frame["target"].to_numpy(), np.concatenate(parts, 1), atol=1e-6)
    margin = np.abs(scores[:, 0] - scores[:, 1]) + 1e-6
    np.testing.assert_allclose(frame["margin"].to_numpy(), margin, atol=1e-6)
    np.testing.assert_allclose(frame["weight"].to_numpy(), margin / margin.mean(), rtol=1e-4)
    assert frame["teacher"].to_list() == [["one", "two"][best] for best in scores.argmax(1)]
    facts = Table.open(layout.golden, "").shards[0].footer()
    assert facts["labels"] == ["apple", "pear", "plum", "oak", "elm"]
    assert facts["integrate"]["strategy"] == "soft"
    keys = {name: Table.open(layout.labels(name), "").shards[0].key for name in labels}
    assert facts["label_keys"] == keys


@pytest.mark.parametrize("scorer", ["mc_entropy", "entropy", "mutual_information"])
@pytest.mark.parametrize("strategy", ["soft", "hard"])
@pytest.mark.parametrize("distribution", ["deterministic", "mc"])
def test_every_setting_gives_distributions_and_mean_weight_one(
    copy: Path, scorer: str, strategy: str, distribution: str
) -> None:
    tiny.change(copy, "integrate", scorer=scorer, strategy=strategy, teacher_distribution=distribution)
    frame, layout = integrate(copy)
    target = frame["target"].to_numpy()
    np.testing.assert_allclose(target.sum(axis=1), 1, atol=1e-6)
    assert frame["weight"].mean() == pytest.approx(1, rel=1e-5)
    if scorer == "entropy":
        expected = 1 - entropy_of_logits(read_labels(layout, "two")["logits"].to_numpy()) / np.log(2)
        np.testing.assert_allclose(frame["scores"].to_numpy()[:, 1], expected, atol=1e-6)
    if strategy == "hard":
        first = frame["teacher"].to_numpy() == "one"
        assert (target[first][:, 3:] == 0).all()
        assert (target[~first][:, :3] == 0).all()
        if distribution == "mc":
            probs = read_labels(layout, "one")["probs"].to_numpy()
            np.testing.assert_allclose(target[first][:, :3], probs[first], atol=1e-6)


@pytest.mark.parametrize("distribution", ["deterministic", "mc"])
def test_the_default_sharpens_the_targets_of_modest_teachers(copy: Path, distribution: str) -> None:
    tiny.change(copy, "integrate", scorer="gate", strategy="posterior", teacher_distribution=distribution)
    frame, layout = integrate(copy)
    posterior, powers = frame["scores"].to_numpy(), Router.load(layout.router).sharpening
    assert (powers > 1).all()  # tiny teachers are random
    parts = []
    for number, name in enumerate(tiny.TEACHER_LABELS):
        labels = read_labels(layout, name)
        sharp = softmax(powers[number] * labels["logits"].to_numpy())
        assert sharp.max(axis=1).mean() == pytest.approx(0.8, abs=1e-3)
        probs = labels["probs"].to_numpy() ** powers[number]
        given = sharp if distribution == "deterministic" else probs / probs.sum(axis=1, keepdims=True)
        parts.append(posterior[:, [number]] * given)
    np.testing.assert_allclose(frame["target"].to_numpy(), np.concatenate(parts, 1), atol=1e-5)


@pytest.mark.parametrize("distribution", ["deterministic", "mc"])
def test_targets_are_as_soft_as_the_student_is_trained(copy: Path, distribution: str) -> None:
    tiny.change(copy, "integrate", strategy="hard", teacher_distribution=distribution)
    tiny.change(copy, "student", temperature=4.0)
    frame, layout = integrate(copy)
    is_first = frame["teacher"].to_numpy() == "one"
    labels = read_labels(layout, "one")
    plain = softmax(labels["logits"].to_numpy()) if distribution == "deterministic" else labels["probs"].to_numpy()
    expected = plain**0.25 / (plain**0.25).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(frame["target"].to_numpy()[is_first, :3], expected[is_first], atol=1e-5)


def test_weights_raw_or_all_one(copy: Path) -> None:
    tiny.change(copy, "integrate", normalise_weights=False)
    frame, _ = integrate(copy)
    assert frame["weight"].equals(frame["margin"].alias("weight"))
    tiny.change(copy, "integrate", reweight="none")
    frame, _ = integrate(copy)
    assert set(frame["weight"]) == {1.0}
    assert frame["margin"].n_unique() > 1


def test_one_teacher_is_plain_distillation(copy: Path) -> None:
    content = yaml.safe_load(copy.read_text())
    del content["teachers"]["two"]  # its labels still lie on the disk
    copy.write_text(yaml.safe_dump(content, sort_keys=False))
    frame, layout = integrate(copy)
    assert set(frame["weight"]) == {1.0}
    np.testing.assert_allclose(
        frame["target"].to_numpy(), softmax(read_labels(layout, "one")["logits"].to_numpy()), atol=1e-6
    )


def test_aliases_unite_labels_by_name(copy: Path) -> None:
    tiny.change(copy, "integrate", aliases={"two": {"oak": "plum"}})
    frame, layout = integrate(copy)
    assert Table.open(layout.golden, "").facts["labels"] == ["apple", "pear", "plum", "elm"]
    assert frame.schema["target"] == pl.Array(pl.Float32, 4)


def test_the_temperature_of_the_student_is_that_of_the_teachers(copy: Path) -> None:
    tiny.change(copy, "student", temperature=4.0)
    tiny.change(copy, "integrate", strategy="hard")
    frame, layout = integrate(copy)
    first = frame["teacher"].to_numpy() == "one"
    expected = softmax(read_labels(layout, "one")["logits"].to_numpy(), 4.0)
    np.testing.assert_allclose(frame["target"].to_numpy()[first][:, :3], expected[first], atol=1e-6)
    assert Table.open(layout.golden, "").facts["temperature"] == 4.0


@settings(deadline=None, max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 31))
def test_the_join_ignores_how_the_corpus_is_sharded(labelled: Path, shard_rows: int) -> None:
    expected, layout = integrate(labelled)
    resharded = labelled.parent / "resharded"
    shutil.rmtree(resharded, ignore_errors=True)
    shutil.copytree(labelled.parent / "models", resharded / "models")
    path = resharded / "params.yaml"
    path.write_text(labelled.read_text())
    other = Layout(resharded)
    write_corpus(other.corpus, pl.read_parquet(layout.corpus / "*.parquet"), shard_rows)
    label_all(path)
    frame, _ = integrate(path)
    assert frame["id"].equals(expected["id"])
    for name in ("target", "scores", "weight"):
        np.testing.assert_allclose(frame[name].to_numpy(), expected[name].to_numpy(), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("scorer", "names", "doubtful"),
    [("gate", ["one", "two"], True), ("mc_entropy", ["one", "two"], False), ("gate", ["one"], False)],
)
def test_a_gate_between_random_teachers_is_doubted(copy: Path, scorer: str, names: list[str], doubtful: bool) -> None:
    tiny.change(copy, "integrate", strategy="soft", scorer=scorer)
    params, layout = config.load(copy)
    chosen = params.model_copy(update={"teachers": {name: params.teachers[name] for name in names}})
    if scorer == "gate":
        embed_corpus(chosen, layout)
    routing = stage.integrate(chosen, layout, layout.golden).routing
    estimate = None if routing is None else routing.estimate
    assert (estimate is not None and estimate.agreement <= SLIGHT) == doubtful


def test_teachers_of_other_architectures_and_tokenizers_are_integrated_alike(tmp_path: Path) -> None:
    teachers = {"one": ["a", "b"], "two": ["c", "d"], "three": ["e", "f", "g"]}
    path = tiny.save_project(tmp_path, teachers=teachers)
    for name, architecture in {"two": "roberta", "three": "deberta-v2"}.items():
        folder = tmp_path / "models" / name
        shutil.rmtree(folder)
        tiny.save_teacher(folder, teachers[name], architecture)
    tiny.tokenizer(by_character=True).save_pretrained(tmp_path / "models" / "two")
    params, layout = config.load(path)
    prepare(params.prepare, layout)
    label_all(path)
    frame, _ = integrate(path)
    tokens = {name: read_labels(layout, name)["tokens"] for name in teachers}
    assert tokens["one"].equals(tokens["three"])
    assert (tokens["two"] >= tokens["one"]).all()
    assert tokens["two"].sum() > 1.3 * tokens["one"].sum()
    assert frame["target"].to_numpy().shape == (30, 7)
    np.testing.assert_allclose(frame["target"].to_numpy().sum(axis=1), 1, atol=1e-6)


def test_a_scorer_is_fitted_to_a_sample_of_a_large_corpus(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.change(copy, "integrate", strategy="posterior", scorer="calibrated")
    whole, layout = integrate(copy)
    monkeypatch.setattr(inputs, "SAMPLE_ROWS", 10)
    forget(layout)
    sampled, _ = integrate(copy)
    params, _ = config.load(copy)
    said = [read_labels(layout, name) for name in tiny.TEACHER_LABELS]
    rows = np.arange(0, 30, 3)
    assert params.prepare.shard_rows == 8, "3 does not divide it"
    z = []
    for frame in said:
        logits = frame["logits"].to_numpy().astype(float)
        recognised = np.log(np.exp(logits).sum(axis=1))
        information = -np.log(np.maximum((frame["entropy"] - frame["expected_entropy"]).to_numpy().astype(float), 1e-6))
        z.append(sum((each - each[rows].mean()) / each[rows].std() for each in (recognised, information)))
    np.testing.assert_allclose(sampled["scores"].to_numpy(), softmax(np.stack(z, axis=1)), atol=1e-4)
    assert not np.allclose(whole["scores"].to_numpy(), sampled["scores"].to_numpy(), atol=1e-3)


def files_of(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Inode and content of every file."""
    return {path.name: (path.stat().st_ino, path.read_bytes()) for path in folder.iterdir()}


def test_a_finished_table_is_left_alone_and_found_again(copy: Path) -> None:
    tiny.change(copy, "integrate", strategy="posterior", scorer="gate")
    params, layout = config.load(copy)
    first = stage.integrate(params, layout, layout.golden)
    before = files_of(layout.golden)
    again = stage.integrate(params, layout, layout.golden)
    assert files_of(layout.golden) == before
    assert (first.is_new, again.is_new) == (True, False)
    assert (again.rows, again.abstained, again.routing) == (first.rows, first.abstained, first.routing)
    shutil.rmtree(layout.golden)  # as DVC does before it runs the command
    assert not stage.integrate(params, layout, layout.golden).is_new
    assert {name: content for name, (_, content) in files_of(layout.golden).items()} == {
        name: content for name, (_, content) in before.items()
    }
    damaged = layout.golden / "part-00001.parquet"
    damaged.unlink()
    damaged.write_bytes(b"x")
    assert not stage.integrate(params, layout, layout.golden).is_new, "the kept one is whole"
    (layout.work / "golden" / "part-00001.parquet").unlink()
    damaged.unlink()
    assert stage.integrate(params, layout, layout.golden).is_new
    tiny.change(copy, "integrate", temperature=0.5)
    assert stage.integrate(*config.load(copy), layout.golden).is_new


@pytest.mark.slow
def test_the_table_is_the_same_with_any_number_of_threads(copy: Path) -> None:
    tiny.change(copy, "integrate", strategy="posterior", scorer="gate")
    _, layout = config.load(copy)
    found = []
    for threads in ("1", "2", "8"):
        forget(layout)
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS")
        command = [sys.executable, "-m", "muki_stages.cli", "integrate", "--params", str(copy)]
        subprocess.run(command, check=True, env={**os.environ, **dict.fromkeys(names, threads)}, capture_output=True)
        found.append({name: content for name, (_, content) in files_of(layout.golden).items()})
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("strategy", ["posterior", "hard"])
def test_texts_of_a_label_that_two_teachers_know_teach_as_much_as_others(tmp_path: Path, strategy: str) -> None:
    path = tiny.save_project(tmp_path, teachers={"one": ["apple", "pear", "oak"], "two": ["oak", "elm"]})
    tiny.change(path, "integrate", normalise_weights=False, scorer="gate", strategy=strategy)
    tiny.label(path)
    frame, layout = integrate(path)
    columns = {"one": ["apple", "pear", "oak"], "two": ["oak", "elm"]}
    answers = [
        [known[each] for each in read_labels(layout, name)["logits"].to_numpy().argmax(axis=1)]
        for name, known in columns.items()
    ]
    agree = np.array([first == second for first, second in zip(*answers, strict=True)])
    assert 0 < agree.sum() < len(agree)
    lead = np.abs(frame["scores"].to_numpy() @ [1, -1])
    np.testing.assert_allclose(frame["weight"].to_numpy(), np.where(agree, 1.0, lead) + 1e-6, atol=1e-6)
    tiny.change(path, "integrate", scorer="mc_entropy", strategy="soft")  # the paper's rule is the paper's
    frame, _ = integrate(path)
    np.testing.assert_allclose(frame["weight"], np.abs(frame["scores"].to_numpy() @ [1, -1]) + 1e-6, atol=1e-6)
