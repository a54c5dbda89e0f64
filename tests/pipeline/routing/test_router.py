"""The stored router: loaded it scores as the fitted one, and nobody fits it again."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

from muki_pipeline import config
from muki_pipeline.config import Params
from muki_pipeline.engines.local import ThisProcess
from muki_pipeline.errors import MukiError
from muki_pipeline.evaluation.evaluate import evaluate
from muki_pipeline.evaluation.routed_teachers import open_routed_teachers
from muki_pipeline.routing.inputs import SAMPLE_ROWS, open_inputs
from muki_pipeline.routing.router import Router, load_or_fit
from muki_pipeline.routing.scorers import SCORERS
from muki_pipeline.store import files
from muki_pipeline.supervision.integrate import integrate
from muki_stages import predict
from tests import tiny


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the default rule, after all stages but `evaluate`."""
    path = tiny.save_project(
        tmp_path_factory.mktemp("router"), integrate={}, embed={"model": "models/base", "max_length": 64}
    )
    tiny.finish(path)
    return path


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished.parent, tmp_path / "copy")
    return tmp_path / "copy" / "params.yaml"


def with_scorer(params: Params, scorer: str) -> Params:
    strategy = "posterior" if scorer in config.POSTERIORS else "soft"
    return params.model_copy(update={"integrate": config.Integrate(scorer=scorer, strategy=strategy)})


@pytest.mark.parametrize("scorer", sorted(SCORERS))
def test_a_loaded_router_scores_as_the_fitted_one(finished: Path, scorer: str, tmp_path: Path) -> None:
    params, layout = config.load(finished)
    inputs = open_inputs(with_scorer(params, scorer), layout)
    sample = inputs.sample(("logits", "probs", "entropy", "expected_entropy"), ThisProcess)
    fitted = Router.fit(inputs, sample)
    fitted.save(tmp_path / "router")
    loaded = Router.load(tmp_path / "router")
    np.testing.assert_array_equal(loaded(sample), fitted(sample))
    assert (loaded.key, loaded.labels, loaded.estimate) == (fitted.key, fitted.labels, fitted.estimate)
    assert {path.name for path in (tmp_path / "router").iterdir()} == {
        "router.json",
        "arrays.safetensors",
        "sha256.json",
    }
    assert len(inputs.corpus.shards) * 8 < SAMPLE_ROWS


def test_a_router_that_is_replaced_while_it_is_read_is_refused(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, read = Router.load(config.load(finished)[1].router), files.read_bytes
    first.save(tmp_path / "router")

    def late(path: Path, remedy: str) -> bytes:
        if path.name == "arrays.safetensors":
            replace(first, key="another").save(tmp_path / "router")
        return read(path, remedy)

    monkeypatch.setattr(files, "read_bytes", late)
    with pytest.raises(MukiError, match="was replaced while it was read"):
        Router.load(tmp_path / "router")


def test_what_integrate_has_fitted_is_loaded_by_the_rest(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    params, layout = config.load(copy)
    golden = pl.read_parquet(layout.golden / "*.parquet")
    fit = Router.fit
    asked: list[str] = []
    monkeypatch.setattr(Router, "fit", lambda inputs, sample: asked.append(inputs.scorer) or fit(inputs, sample))
    evaluate(params, layout)
    evaluate(params, layout)
    assert sorted(asked) == sorted(set(SCORERS) - {"gate"})
    shutil.rmtree(layout.work)  # as in a clone that has pulled the outputs
    assert load_or_fit(open_inputs(params, layout), layout).key == Router.load(layout.router).key
    shutil.rmtree(layout.router)
    integrate(params, layout, layout.golden)
    assert asked.count("gate") == 1
    (layout.router / "router.json").write_text("{")
    integrate(params, layout, layout.golden)
    assert Router.load(layout.router).key == Router.load(layout.stored_router("gate")).key
    assert pl.read_parquet(layout.golden / "*.parquet").equals(golden)


def test_teachers_and_router_answer_without_a_student(copy: Path, tmp_path: Path) -> None:
    params, layout = config.load(copy)
    shutil.rmtree(layout.student)
    for name in params.teachers:
        shutil.rmtree(layout.labels(name))
    golden = pl.read_parquet(layout.golden / "*.parquet")
    golden.select("text").write_parquet(tmp_path / "in.parquet")
    predict.main(tmp_path / "in.parquet", target=tmp_path / "out.parquet", routed=True, params_file=copy)
    answers = pl.read_parquet(tmp_path / "out.parquet")
    router = Router.load(layout.router)
    labels = np.array(router.labels)
    columns = dict(zip(router.teachers, router.label_space.columns, strict=True))
    for said, taught in zip(answers.to_dicts(), golden.to_dicts(), strict=True):
        assert said["text"] == taught["text"]
        assert said["label"] in labels[columns[taught["teacher"]]], "a label of the teacher that was trusted"
        assert 0 < said["probability"] <= 1


def refused(path: Path, message: str) -> None:
    with pytest.raises(MukiError, match=message):
        open_routed_teachers(*config.load(path))


def test_a_router_of_something_else_is_refused(copy: Path) -> None:
    params, layout = config.load(copy)
    tiny.change(copy, "label", passes=5)
    refused(copy, r"labels of another label\.passes \(3\)\. Run muki-pipeline label for every teacher, then integrate")
    tiny.change(copy, "label", passes=3)
    tiny.change(copy, "embed", max_length=32)
    refused(copy, "with another neutral encoder. Run muki-pipeline embed, then integrate")
    tiny.change(copy, "embed", max_length=64)
    tiny.save_teacher(layout.root / params.teachers["one"].model, tiny.TEACHER_LABELS["one"], seed=7)
    refused(copy, r"teacher one has changed\. Run muki-pipeline label --teacher one, then integrate")
    (layout.router / "arrays.safetensors").write_bytes(b"x")
    refused(copy, "router: was changed. Run muki-pipeline integrate")
    shutil.rmtree(layout.router)
    refused(copy, "router: there is no router. Run muki-pipeline integrate")


def test_a_router_answers_as_before_where_params_lists_its_teachers_otherwise(copy: Path) -> None:
    before = open_routed_teachers(*config.load(copy)).probs(["w1 w2", "w3"])
    content = yaml.safe_load(copy.read_text())
    content["teachers"] = dict(reversed(content["teachers"].items()))
    copy.write_text(yaml.safe_dump(content, sort_keys=False))
    np.testing.assert_array_equal(open_routed_teachers(*config.load(copy)).probs(["w1 w2", "w3"]), before)


def test_teachers_of_equal_labels_in_another_order_have_another_router(tmp_path: Path) -> None:
    """Their columns of the union are equal too, so nothing else tells the two orders apart."""
    path = tiny.save_project(tmp_path, teachers={"one": ["oak", "elm"], "two": ["oak", "elm"]})
    tiny.label(path)
    params, layout = config.load(path)
    integrate(params, layout, layout.golden)
    content = yaml.safe_load(path.read_text())
    content["teachers"] = dict(reversed(content["teachers"].items()))
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    params, layout = config.load(path)
    assert [*open_routed_teachers(params, layout).teachers] == ["one", "two"], "the stored router keeps its own order"
    assert integrate(params, layout, layout.golden).is_new
    assert [*open_routed_teachers(params, layout).teachers] == ["two", "one"]
