"""The pipeline under the real DVC, on tiny models, in repositories of their own."""

import json
import re
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from muki_pipeline import strict_yaml
from tests import tiny
from tests.repository import Repository

AFTER_INTEGRATE = ["integrate", "train-student", "evaluate"]
AFTER_LABELS = ["embed", *AFTER_INTEGRATE]

pytestmark = pytest.mark.slow


def golden(repository: Repository) -> dict[str, Any]:
    """The facts in the golden table's manifest."""
    facts: dict[str, Any] = json.loads((repository.root / "data" / "golden" / "manifest.json").read_text())
    return facts


def changed(repository: Repository) -> set[str]:
    """Names of the stages that would run because of what changed in their own dependencies."""
    return set(re.findall(r"^([\w-]+):$", repository.run("dvc", "status"), re.MULTILINE))


def test_only_what_changed_runs_again(tmp_path: Path) -> None:
    repository = Repository.create(tmp_path)
    tiny.save_teacher(tmp_path / "models" / "three", ["ash", "fir"], seed=5)
    assert sorted(repository.repro()) == sorted(
        ["prepare", "train-teacher-own", "label-one", "label-two", "label-own", *AFTER_LABELS]
    )
    assert repository.repro() == []
    assert "up to date" in repository.run("dvc", "status")

    # A new teacher runs alone; one that is gone costs nothing and keeps its labels.
    repository.change("teachers", "three", {"model": "models/three"})
    repository.change("teachers", "one", None)
    repository.write_stages()
    assert repository.repro() == ["label-three", *AFTER_LABELS]
    assert (tmp_path / "data" / "labels" / "one" / "manifest.json").exists()
    assert list(golden(repository)["teachers"]) == ["two", "own", "three"]
    assert golden(repository)["labels"][-2:] == ["ash", "fir"]

    # What would run, asked without running it.
    metrics = tmp_path / "pipeline" / "muki_pipeline" / "evaluation" / "metrics.py"
    metrics.write_text(metrics.read_text() + "\n# changed\n")
    assert changed(repository) == {"evaluate"}
    repository.change("integrate", "temperature", 0.5)
    # `embed` reads `aliases` of this block, and DVC cannot watch a key that is not there.
    assert changed(repository) == {"embed", "integrate", "evaluate"}
    plots = json.loads(repository.run("dvc", "plots", "show", "--json"))["data"]
    assert {Path(name).name for name in plots} == {"confusion", "training", "uncertainty.png"}
    assert all(plots.values())


CAFE = unicodedata.normalize("NFD", "Café")
LABELS = {"one [1]": ["no", CAFE, "plum"], "two": ["1e3", "12:30"]}


def write_csv(path: Path, labels: list[str], seed: int, rows: int = 30) -> None:
    """As Excel in half of Europe writes it."""
    texts = tiny.texts(rows, seed)
    lines = [f'"{text}; {number}";{labels[number % len(labels)]}' for number, text in enumerate(texts)]
    path.write_bytes(("\ufeff" + "\r\n".join(["text;topic", *lines]) + "\r\n").encode())


def init(root: Path, *options: str) -> Repository:
    """A project of `muki-pipeline init`, with small settings."""
    for number, (name, labels) in enumerate(LABELS.items()):
        tiny.save_teacher(root / "my models" / name, labels, seed=number)
    tiny.save_pretrained_encoder(root / "models" / "base", seed=9)
    known = [label for labels in LABELS.values() for label in labels]
    write_csv(root / "mails.csv", known, 1)
    write_csv(root / "more.csv", known, 2)
    write_csv(root / "test.csv", [f" {unicodedata.normalize('NFC', label)}" for label in known], 3)
    repository = Repository(root)
    repository.run("git", "init", "--quiet")
    repository.run("dvc", "init", "--quiet")
    models = [f"my models/{name}" for name in LABELS]
    repository.run("muki-pipeline", "init", *models, "--texts", "mails.csv", "--student", "models/base", *options)
    repository.change("label", "passes", 2)
    repository.change("student", "epochs", 1)
    repository.change("student", "precision", "float32")
    repository.change("label", "dtype", "float32")
    return repository


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished project with a test set."""
    repository = init(tmp_path_factory.mktemp("made") / "p", "--test", "test.csv")
    ran = repository.repro()
    assert ran == ["prepare", "label-one-1", "label-two", *AFTER_LABELS]
    return repository.root


@pytest.fixture
def project(made: Path, tmp_path: Path) -> Repository:
    shutil.copytree(made, tmp_path / "p", symlinks=True)
    return Repository(tmp_path / "p")


def tables(root: Path) -> dict[str, bytes]:
    """Every file that both ways must make alike; the student's card and log are for people."""
    names = ["data/corpus", "data/labels", "data/embeddings", "data/golden", "data/eval"]
    files = [
        path for name in names for path in (root / name).rglob("*") if path.is_file() and path.name != ".gitignore"
    ]
    files += [root / "data" / "student" / "model.safetensors", root / "data" / "metrics.json"]
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def test_what_init_writes_runs_as_it_stands(made: Path, tmp_path: Path) -> None:
    repository = Repository(made)
    assert repository.repro() == []
    config = json.loads((made / "data" / "student" / "config.json").read_text())
    assert list(config["id2label"].values()) == ["no", "Café", "plum", "1e3", "12:30"]
    metrics = json.loads((made / "data" / "metrics.json").read_text())
    assert metrics["student"]["rows"] == 30, "blanks and Unicode forms of the test labels do not matter"
    texts = pl.read_parquet(made / "data" / "corpus" / "*.parquet")["text"].to_list()
    assert texts == [f"{text}; {number}" for number, text in enumerate(tiny.texts(30, 1))]
    # The other way makes the same, byte for byte, and then nothing.
    other = Repository(tmp_path / "other")
    shutil.copytree(made, other.root, ignore=shutil.ignore_patterns("data", ".git", ".dvc", "dvc.lock"))
    other.run("muki-pipeline", "run")
    assert tables(other.root) == tables(made)


def test_a_project_without_a_test_set_runs_too(tmp_path: Path) -> None:
    repository = init(tmp_path / "p")
    assert repository.repro() == ["prepare", "label-one-1", "label-two", "embed", "integrate", "train-student"]
    assert repository.repro() == []
    # No stage of dvc.yaml depends on a teacher that it does not know, and still the teacher is noticed.
    repository.change("teachers", "three", {"model": "my models/two"})
    process = repository.start("dvc", "repro")
    output, _ = process.communicate(timeout=300)
    assert process.returncode != 0
    assert "has no stage label-three, which params.yaml asks for" in " ".join(output.split())


def append(name: str) -> Callable[[Repository], None]:
    def edit(repository: Repository) -> None:
        path = repository.root / name
        path.write_bytes(path.read_bytes() + b'"w7 w8; new";no\r\n')

    return edit


def weights(name: str, labels: list[str]) -> Callable[[Repository], None]:
    return lambda repository: tiny.save_teacher(repository.root / name, labels, seed=77) and None


def setting(block: str, key: str, value: Any) -> Callable[[Repository], None]:
    return lambda repository: repository.change(block, key, value)


def without_a_teacher(repository: Repository) -> None:
    repository.change("teachers", "two", None)
    shutil.rmtree(repository.root / "data" / "labels" / "two")
    repository.run("muki-pipeline", "dvc")


INPUTS: dict[str, tuple[Callable[[Repository], None], set[str]]] = {
    "the texts": (append("mails.csv"), {"prepare"}),
    "the test set": (append("test.csv"), {"prepare"}),
    "a teacher": (weights("my models/one [1]", LABELS["one [1]"]), {"label-one-1", "evaluate"}),
    "the student's base": (weights("models/base", ["LABEL_0", "LABEL_1"]), {"embed", "train-student", "evaluate"}),
    "passes": (setting("label", "passes", 3), {"label-one-1", "label-two", "integrate", "evaluate"}),
    "a teacher's dropout": (
        setting("teachers", "two", {"model": "my models/two", "dropout": 0.3}),
        {"label-two", "embed", "integrate", "evaluate"},
    ),
    "a teacher less": (without_a_teacher, {"embed", "integrate", "evaluate"}),
    "embed.max_length": (setting("embed", "max_length", 8), {"embed", "evaluate"}),
    "strategy": (setting("integrate", "strategy", "hard"), {"integrate", "evaluate"}),
    "epochs": (setting("student", "epochs", 2), {"train-student"}),
    "shards": (setting("prepare", "shard_rows", 9), {"prepare"}),
}


@pytest.mark.parametrize("what", INPUTS)
def test_every_input_is_watched(project: Repository, what: str) -> None:
    edit, stages = INPUTS[what]
    edit(project)
    assert changed(project) == stages


@pytest.mark.parametrize("what", ["the texts", "the student's base", "a teacher less"])
def test_after_a_change_both_ways_make_the_same(project: Repository, tmp_path: Path, what: str) -> None:
    INPUTS[what][0](project)
    fresh = tmp_path / "fresh"
    shutil.copytree(project.root, fresh, ignore=shutil.ignore_patterns("data", ".git", ".dvc", "dvc.lock"))
    project.repro()
    Repository(fresh).run("muki-pipeline", "run")
    assert tables(fresh) == tables(project.root)


def test_a_file_that_dvc_does_not_know_of_stops_the_stage(project: Repository) -> None:
    project.change("prepare", "extra", [{"source": "more.csv", "text": "text"}])
    process = project.start("dvc", "repro")
    output, _ = process.communicate(timeout=300)
    assert process.returncode != 0
    assert "stage prepare lacks 'more.csv' among its deps, which params.yaml asks for. Run muki-pipeline dvc" in output
    project.run("muki-pipeline", "dvc")
    assert "prepare" in project.repro()
    append("more.csv")(project)
    assert changed(project) == {"prepare"}


def test_names_survive_an_experiment(project: Repository) -> None:
    """DVC writes params.yaml anew, in YAML 1.2."""
    project.change("prepare", "labels", ["no", "Café", "plum", "1e3", "12:30"])
    project.change("prepare", "corpus", {"source": "mails.csv", "text": "text", "label": "topic"})
    project.run("muki-pipeline", "dvc")
    project.repro()
    for command in (("add", "--all"), ("-c", "user.name=x", "-c", "user.email=x", "commit", "--quiet", "-m", "x")):
        project.run("git", *command)
    project.run("dvc", "exp", "run", "-S", "student.epochs=2", "-S", "+integrate.temperature=0.3")
    content = strict_yaml.read((project.root / "params.yaml").read_text())
    assert content["student"]["epochs"] == 2
    assert content["prepare"]["labels"] == ["no", "Café", "plum", "1e3", "12:30"]
    project.run("muki-pipeline", "inspect")
