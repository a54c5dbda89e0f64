from pathlib import Path
from typing import Any

import numpy as np
import pytest

from muki_pipeline import api
from muki_pipeline.api import Project, merge
from muki_pipeline.errors import MukiError
from muki_pipeline.setup import look
from muki_pipeline.store.files import only_one
from tests import tiny
from tests.recorder import Recorder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_project(tmp_path_factory.mktemp("api")).parent / "models"


def project(models: Path, folder: Path, texts: list[str], **others: Any) -> Project:
    paths = [str(models / name) for name in ("one", "two")]
    opened = merge(paths, texts, folder=folder, student=str(models / "base"), **others)
    path = folder / "params.yaml"
    path.write_text(path.read_text().replace("passes: 16", "passes: 2").replace("epochs: auto", "epochs: 1"))
    return Project.load(path, opened.progress)


def test_from_models_and_texts_to_answers(models: Path, tmp_path: Path) -> None:
    texts = tiny.texts(20)
    made = project(models, tmp_path / "muki", texts)
    assert made.corpus()["text"].to_list() == texts
    assert made.label("two").columns[:2] == ["id", "probs"]
    golden = made.golden()
    assert golden["text"].to_list() == texts
    assert golden["target"].dtype.shape == (5,)
    student = made.train()
    assert student.labels == ("apple", "pear", "plum", "oak", "elm")
    answers = student.predict(["w1 w2", "", "w3"])
    assert answers["text"].to_list() == ["w1 w2", "", "w3"]
    probs = np.array(answers["probabilities"].to_list())
    np.testing.assert_allclose(probs.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(probs.max(axis=1), answers["probability"])
    assert answers["label"].to_list() == [student.labels[column] for column in probs.argmax(axis=1)]
    assert student.predict([]).is_empty()


def test_what_is_finished_is_not_done_again(models: Path, tmp_path: Path) -> None:
    texts = tiny.texts(12)
    project(models, tmp_path / "muki", texts).train()
    recorder = Recorder()
    project(models, tmp_path / "muki", texts, progress=recorder).train()
    assert [task.total for task in recorder.tasks if task.unit in ("texts x passes", "steps")] == [0, 0]


def test_a_folder_of_another_project_is_refused(models: Path, tmp_path: Path) -> None:
    project(models, tmp_path / "muki", ["w1"])
    with pytest.raises(MukiError, match="belongs to a project with the teachers"):
        merge([str(models / "two")], ["w1"], folder=tmp_path / "muki")
    both = [str(models / name) for name in ("one", "two")]
    with pytest.raises(MukiError, match="whose student starts from"):
        merge(both, ["w2"], folder=tmp_path / "muki", student="other")
    with pytest.raises(MukiError, match=r"belongs to a project with other texts\. Name another folder, or write"):
        merge(both, ["w1", "w2"], folder=tmp_path / "muki")
    with pytest.raises(MukiError, match=r"texts is empty \(null\) in row 2"):
        merge(both, ["w1", None], folder=tmp_path / "none")  # type: ignore[list-item]  # as callers without mypy may
    assert Project.load(tmp_path / "muki" / "params.yaml").corpus()["text"].to_list() == ["w1"]
    for texts in (["w1", float("nan")], ["w1", 3]):
        with pytest.raises(MukiError, match="not all texts are strings"):
            merge(both, texts, folder=tmp_path / "none")  # type: ignore[arg-type]  # as callers without mypy may
    with pytest.raises(MukiError, match="models and texts are lists"):
        merge(both, "w1", folder=tmp_path / "none")
    with pytest.raises(MukiError, match="there are no texts"):
        merge([str(models / "two")], [], folder=tmp_path / "other")


def test_a_step_takes_the_locks_of_the_command_line_and_prepares_once(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = project(models, tmp_path / "muki", tiny.texts(12))
    prepared: list[None] = []
    prepare = api.prepare
    monkeypatch.setattr(api, "prepare", lambda *args: prepared.append(None) or prepare(*args))
    made.golden()
    assert len(prepared) == 1
    for name, step in {"prepare": made.corpus, "student": made.train}.items():
        with (
            only_one(made.layout.work / f"{name}.lock", "working"),
            pytest.raises(MukiError, match="another process is"),
        ):
            step()


def test_paths_may_be_paths_and_another_commit_is_another_model(models: Path, tmp_path: Path) -> None:
    paths = {"one": models / "one", "two": models / "two"}
    made = merge(paths, ["w1"], folder=tmp_path / "muki", student=str(models / "base"))
    there = made.params.teachers["one"]
    pinned = there.model_copy(update={"revision": "a" * 40})
    params = made.params.model_copy(update={"teachers": {"one": pinned}})
    found = look.FoundTeacher("one", (), pinned.model_copy(update={"revision": "b" * 40}))
    api._check_same(params, [found], [False], {}, tmp_path)  # whatever is newest: no commit was asked for
    with pytest.raises(MukiError, match="or with other commits of them"):
        api._check_same(params, [found], [True], {}, tmp_path)
    with pytest.raises(MukiError, match="whose student starts from"):
        api._check_same(params, [found], [False], {"model": params.student.model, "revision": "b" * 40}, tmp_path)
