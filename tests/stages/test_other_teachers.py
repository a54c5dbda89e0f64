"""Teachers that are no networks, from `init` to `predict`, as examples/answers.py makes them."""

import random
import runpy
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from muki_pipeline.store.table import Table
from tests import tiny
from tests.repository import ROOT

pytestmark = pytest.mark.slow
EXAMPLE = ROOT / "examples" / "answers.py"


def muki(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "muki_stages.cli", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    # The doctor's exit code is 1 after warnings, and a random encoder deserves one.
    assert done.returncode == 0 or arguments == ("doctor",), done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Texts, a network, and answers of a scikit-learn pipeline, an ONNX model, an LLM, and another student."""
    sys.path.insert(0, str(EXAMPLE.parent))
    example = runpy.run_path(str(EXAMPLE))
    other = tiny.save_project(tmp_path_factory.mktemp("other"))
    tiny.finish(other)
    muki(other.parent, "export", "--onnx", "onnx")
    folder = tmp_path_factory.mktemp("project")
    texts = sorted({text for text in tiny.texts(80, seed=5) if text.strip()})
    pl.DataFrame({"text": texts}).write_csv(folder / "texts.csv")
    tiny.save_teacher(folder / "models" / "net", ["red", "green", "blue"])
    tiny.save_pretrained_encoder(folder / "models" / "base", seed=9)
    drawn = random.Random(0)
    pipeline = make_pipeline(TfidfVectorizer(), LogisticRegression())
    pipeline.fit(texts, [drawn.choice(["wet", "dry"]) for _ in texts])
    example["of_scikit_learn"](pipeline, texts).write_csv(folder / "weather.csv")
    example["of_onnx"](other.parent / "onnx", texts).write_parquet(folder / "trees.parquet")
    muki(other.parent, "predict", str(folder / "texts.csv"), "--all", "--out", str(folder / "fruit.jsonl"))
    llm = example["of_llm"](lambda text: drawn.choice(["invoice", "refund", "other"]), texts, Counter())
    pl.DataFrame(list(llm)).write_ndjson(folder / "llm.jsonl")
    return folder


def test_the_example_asks_nobody_until_it_is_told_whom(project: Path) -> None:
    command = [sys.executable, str(EXAMPLE), "texts.csv", "none.jsonl"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "NotImplementedError: call your LLM here, about" in done.stderr
    assert not (project / "none.jsonl").exists()


def test_an_llm_that_was_interrupted_is_asked_only_what_is_missing() -> None:
    rows = runpy.run_path(str(EXAMPLE))["of_llm"](str.upper, ["x", "y", "z", "x"], Counter(x=7, y=8), 8)
    assert [row["label"] for row in rows] == ["X"] + ["Z"] * 8


def test_every_kind_of_teacher_from_init_to_predict(project: Path) -> None:
    files = ["weather.csv", "trees.parquet", "fruit.jsonl", "llm.jsonl"]
    said = muki(project, "init", "models/net", *files, "--texts", "texts.csv", "--student", "models/base")
    assert "teacher weather: 2 labels, a file of answers" in said
    settings = yaml.safe_load((project / "params.yaml").read_text())
    assert settings["teachers"]["llm"] == {"answers": "llm.jsonl"}
    settings["student"] |= {"epochs": 1, "batch_size": 16}
    (project / "params.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))
    assert "3 labels in llm.jsonl, 0 of" in muki(project, "doctor")
    said = muki(project, "run")
    assert "samples, so with a mutual information" in said
    facts = Table.open(project / "data" / "golden", "").facts
    assert {name: teacher.get("gives") for name, teacher in facts["teachers"].items()} == {
        "net": None,
        "weather": [],
        "trees": [],
        "fruit": [],
        "llm": ["samples"],
    }
    assert len(facts["labels"]) == 3 + 2 + 5 + 3  # trees and fruit have the same labels
    muki(project, "predict", "texts.csv", "--out", "answers.csv")
    assert set(pl.read_csv(project / "answers.csv")["label"]) <= set(facts["labels"])
    assert "a file" in muki(project, "inspect")
    assert "llm" in muki(project, "inspect", "--id", str(pl.read_parquet(project / "data/corpus/*.parquet")["id"][0]))
    muki(project, "report")
    assert "a file of answers" in (project / "data" / "report.html").read_text()
    assert "llm" in (project / "data" / "student" / "README.md").read_text()


def test_dvc_watches_the_file(project: Path) -> None:
    stages: dict[str, Any] = yaml.safe_load((project / "dvc.yaml").read_text())["stages"]
    assert {name for name, stage in stages.items() if "llm.jsonl" in stage["deps"]} == {"label-llm"}
