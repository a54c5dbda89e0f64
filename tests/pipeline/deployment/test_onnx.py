import importlib
import logging
import sys
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient

from muki_pipeline.deployment import onnx
from muki_pipeline.deployment.onnx import export_onnx
from muki_pipeline.errors import MukiError
from muki_pipeline.models.loaded.student import LoadedStudent, load_student
from muki_pipeline.store.folders import is_sealed, seal_folder
from tests import tiny


def student(root: Path, architecture: str = "bert") -> LoadedStudent:
    folder = tiny.save_teacher(root / "student", ["apple", "pear", "plum"], architecture)
    seal_folder(folder)
    return load_student(folder, "cpu", max_length=24)


@pytest.mark.parametrize("architecture", ["bert", "roberta", "distilbert"])
def test_onnx_runtime_gives_the_students_probabilities(
    tmp_path: Path, architecture: str, capfd: pytest.CaptureFixture[str]
) -> None:
    texts = [*tiny.texts(30), "", "w1"]
    done = export_onnx(student(tmp_path, architecture), tmp_path / "onnx", texts)
    assert done.difference < 1e-4
    assert done.agreement == 1
    assert is_sealed(tmp_path / "onnx")
    assert "torchvision" not in capfd.readouterr().err


def test_the_service_answers_as_the_student_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [*tiny.texts(20), "", "w1 </s> w2", "w9 " * 60]
    original = student(tmp_path)
    export_onnx(original, tmp_path / "onnx", texts, int8=True)
    assert (tmp_path / "onnx" / "model_int8.onnx").exists()
    assert logging.getLogger().level == logging.WARNING, "the export leaves the caller's logging alone"
    monkeypatch.setenv("STUDENT", str(tmp_path / "onnx"))
    serve = importlib.import_module("examples.serve")
    with TestClient(serve.app) as client:
        assert client.get("/health").json() == {"status": "ok"}
        assert client.get("/labels").json() == ["apple", "pear", "plum"]
        answers = client.post("/classify", json={"texts": texts}).json()
        logits = original.logits(texts)
        assert [answer["label"] for answer in answers] == [original.labels[each] for each in logits.argmax(axis=1)]
        probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        np.testing.assert_allclose([answer["probability"] for answer in answers], probs.max(axis=1), atol=1e-4)
        assert client.post("/classify", json={"texts": []}).status_code == 422
        assert client.post("/classify", json={"texts": ["x" * 30_000]}).status_code == 422
        assert client.post("/classify", json={"texts": ["x"] * 300}).status_code == 422


def test_an_export_that_changes_answers_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx, "TOLERANCE", 0.0)
    with pytest.raises(MukiError, match="a probability differs by"):
        export_onnx(student(tmp_path), tmp_path / "onnx", tiny.texts(5))
    assert not (tmp_path / "onnx").exists()


def test_without_the_extra_one_line_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(MukiError, match="needs a package that is not installed"):
        export_onnx(student(tmp_path), tmp_path / "onnx", tiny.texts(5))


@pytest.mark.parametrize("name", ["", "student", "mine"])
def test_a_folder_with_anything_else_in_it_is_refused_and_kept(tmp_path: Path, name: str) -> None:
    loaded = student(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(MukiError, match="not what an export left"):
        export_onnx(loaded, tmp_path / name, ["w1"])
    assert sorted(tmp_path.rglob("*")) == before


def test_an_earlier_export_is_replaced(tmp_path: Path) -> None:
    loaded = student(tmp_path)
    for _ in range(2):
        export_onnx(loaded, tmp_path / "onnx", ["w1"])
    assert is_sealed(tmp_path / "onnx")
