"""The command line as a user meets it: what it prints, and that every mistake is one line and exit code 2."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
import yaml

from muki_pipeline.store.files import only_one
from muki_pipeline.store.folder import FolderStore
from muki_pipeline.store.table import part_name, seal, unseal
from muki_stages import cli
from tests import tiny

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Run the command line in this process: (exit code, stdout, stderr)."""

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["muki-pipeline", *arguments])
        capfd.readouterr()
        with pytest.raises(SystemExit) as stop:
            cli.main()
        code = stop.value.code
        return (code if isinstance(code, int) else 0, *capfd.readouterr())

    return call


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that is prepared and labelled."""
    path = tiny.save_project(tmp_path_factory.mktemp("cli"))
    tiny.label(path)
    return path


@pytest.fixture
def project(labelled: Path, tmp_path: Path) -> Path:
    shutil.copytree(labelled.parent, tmp_path / "project")
    return tmp_path / "project" / "params.yaml"


def change(path: Path, block: str, value: Any) -> None:
    content = yaml.safe_load(path.read_text())
    *outer, last = block.split(".")
    inner = content
    for key in outer:
        inner = inner[key]
    if value is None:
        del inner[last]
    else:
        inner[last] = value
    path.write_text(yaml.safe_dump(content, sort_keys=False))


def test_from_labels_to_results(project: Path, run: Run) -> None:
    params = ("--params", str(project))
    code, out, err = run("integrate", *params)
    assert (code, out, err) == (0, "", "golden supervision: 30 texts from 2 teachers\n")
    code, out, err = run("train-student", *params)
    assert (code, out) == (0, "")
    assert err.splitlines()[-1].startswith(f"student: {project.parent / 'data' / 'student'}, loss ")
    code, out, err = run("results", *params)
    assert code == 2
    assert "metrics.json: no such file. Run muki-pipeline evaluate" in err
    assert run("evaluate", *params)[0] == 0
    code, out, err = run("results", *params)
    assert err == ""
    metrics = json.loads((project.parent / "data" / "metrics.json").read_text())
    assert code == 0
    for figure in (
        metrics["student"]["accuracy"],
        metrics["teachers"]["two"]["own_block_accuracy"],
        metrics["routed_teachers"]["accuracy"],
        metrics["corpus"]["mutual_information"]["right_teacher_auroc"],
    ):
        assert f"{figure:.3f}" in out
    with (project.parent / "data" / "student" / "config.json").open("a") as file:
        file.write(" ")
    assert "something else has come: student. Run muki-pipeline evaluate" in run("results", *params)[2]
    assert {path.name for path in (project.parent / "data" / "plots").iterdir()} == {
        "confusion.csv",
        "measured_on.json",
        "reliability.csv",
        "uncertainty.csv",
        "uncertainty.png",
    }


def test_rules_are_compared_and_reported(project: Path, run: Run) -> None:
    params = ("--params", str(project))
    change(project, "compare", {"rules": ["muki", "gate"], "seeds": [0, 1]})
    code, out, err = run("compare", *params)
    assert code == 0
    assert "student of gate, seed 1" in err
    students = pl.read_parquet(project.parent / "data" / "comparison.parquet")
    for rule in ("muki", "gate"):
        accuracy = students.filter(pl.col("rule") == rule)["accuracy"]
        assert f"{accuracy.mean():.3f} ± {accuracy.std():.3f}" in out
    code, _, err = run("compare", *params)
    assert "student of" not in err
    assert run("report", *params)[0] == 2
    assert run("integrate", *params)[0] == 0
    assert run("report", *params)[0] == 0
    page = project.parent / "data" / "report.html"
    assert "gate is the best rule" in page.read_text() or "muki is the best rule" in page.read_text()
    change(project, "label.passes", 4)
    assert run("label", "--teacher", "all", *params)[0] == 0
    code, _, err = run("report", *params)
    assert (code, "is of another corpus, or of other labels of it. Run muki-pipeline integrate" in err) == (2, True)
    for command in ("integrate", "report"):
        assert run(command, *params)[0] == 0
    assert "something else has come (labels of one, labels of two)" in page.read_text()
    assert "best rule without gold labels" not in page.read_text()
    tiny.save_teacher(project.parent / "models" / "base", ["a", "b"], seed=10)
    code, _, err = run("compare", *params)
    assert code == 0
    assert err.count("student of gate") == 2, "students of another base model are other students"


def test_labelling_again_does_nothing(project: Path, run: Run) -> None:
    shutil.rmtree(project.parent / "data" / "labels" / "one")
    code, _, err = run("label", "--teacher", "one", "--params", str(project))
    assert code == 0
    assert "30 texts, 0 of them labelled now with 3 passes" in err


def test_inspect_for_people_and_machines(project: Path, run: Run) -> None:
    params = ("--params", str(project))
    code, out, _ = run("inspect", *params)
    assert code == 0
    assert "not there yet" not in out
    assert "one" in out
    code, out, _ = run("inspect", "--json", *params)
    assert json.loads(out)["teachers"]["two"]["rows"] == 30
    text = pl.read_parquet(project.parent / "data" / "corpus" / "*.parquet").row(3, named=True)
    code, out, _ = run("inspect", "--id", text["id"], *params)
    assert code == 0
    assert "Golden supervision: none yet" in out
    assert run("integrate", *params)[0] == 0
    code, out, _ = run("inspect", "--id", text["id"], "--json", *params)
    found = json.loads(out)
    assert found["text"] == text["text"]
    assert sum(found["golden"]["target"].values()) == pytest.approx(1, abs=1e-5)


def test_a_teacher_of_the_demo_is_trained_from_rows_outside_the_corpus(project: Path, run: Run) -> None:
    change(project, "prepare.rows_per_label", 3)
    change(
        project,
        "train_teacher",
        {
            "settings": {"model": "models/base", "steps": 5, "batch_size": 4, "max_length": 16, "learning_rate": 1.0},
            "teachers": {"trees": {"labels": ["oak", "elm"], "steps": 3}},
        },
    )
    params = ("--params", str(project))
    assert run("prepare", *params)[0] == 0
    code, _, err = run("train-teacher", "--teacher", "trees", *params)
    assert code == 0, err
    saved = project.parent / "data" / "teachers" / "trees"
    assert json.loads((saved / "config.json").read_text())["id2label"] == {"0": "oak", "1": "elm"}
    assert pl.read_csv(saved / "training_curve.csv")["step"].max() == 3
    assert "the teacher has learned next to nothing" in err
    code, _, err = run("train-teacher", "--teacher", "one", *params)
    assert code == 2
    assert "there is no teacher 'one' to train, only ['trees']" in err


def no_weights(project: Path) -> None:
    folder = project.parent / "models" / "one"
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def config_of(project: Path, teacher: str, **values: Any) -> None:
    path = project.parent / "models" / teacher / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def nan_weights(project: Path) -> None:
    model = tiny.model(tiny.TEACHER_LABELS["one"])
    with torch.no_grad():
        model.bert.embeddings.word_embeddings.weight[:] = float("nan")
    model.save_pretrained(project.parent / "models" / "one")


def corpus_of(project: Path, rows: dict[str, list[str]]) -> None:
    folder = project.parent / "data" / "corpus"
    unseal(folder)
    shard = FolderStore(folder).write(part_name(0), pl.DataFrame(rows).to_arrow(), "k")
    seal(folder, [shard])


def cut(project: Path) -> None:
    path = project.parent / "data" / "labels" / "two" / "part-00001.parquet"
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[: len(content) // 2])


def write(project: Path, name: str, content: bytes) -> None:
    (project.parent / name).write_bytes(content)


LABEL_ONE = ("label", "--teacher", "one")
# What is wrong, the command that meets it, and what its line must say.
MISTAKES: dict[str, tuple[Callable[[Path], None], tuple[str, ...], str]] = {
    "no params": (lambda p: p.unlink(), ("prepare",), "params.yaml: no such file"),
    "no yaml": (lambda p: p.write_text("a: [") and None, ("prepare",), "is not valid YAML"),
    "unknown key": (lambda p: change(p, "label.pases", 3), ("prepare",), "label.pases: Extra inputs"),
    "out of bounds": (lambda p: change(p, "label.passes", 1), LABEL_ONE, "label.passes: Input should be greater"),
    "bad name": (lambda p: change(p, "teachers.Bad name", {}), ("prepare",), "teachers.Bad name"),
    "no such teacher": (lambda p: None, ("label", "--teacher", "six"), "no teacher 'six'"),
    "no source": (lambda p: change(p, "prepare.corpus.source", "./no.csv"), ("prepare",), "./no.csv: no such file"),
    "no column": (lambda p: change(p, "prepare.corpus.text", "no"), ("prepare",), "has no column 'no'"),
    "no user": (lambda p: change(p, "prepare.corpus.source", "~$x.csv"), ("prepare",), "~$x.csv: no such file"),
    "no package": (lambda p: change(p, "prepare.corpus.source", "package:/x"), ("prepare",), "names no package"),
    "no date": (lambda p: p.write_text("a: 2023-02-30") and None, ("prepare",), "a value is none of its kind"),
    "no number": (lambda p: p.write_text("a: !!int b") and None, ("prepare",), "a value is none of its kind"),
    "nested": (lambda p: p.write_text("a: " + "[" * 5000) and None, ("prepare",), "it is nested too deeply"),
    "no cluster": (lambda p: None, (*LABEL_ONE, "--address", "auto"), "--address: is for a Ray cluster"),
    "no Ray": (lambda p: None, (*LABEL_ONE, "--cores", "2"), "--cores: is for a Ray cluster"),
    "no cluster to integrate": (lambda p: None, ("integrate", "--address", "auto"), "--address: is for a Ray cluster"),
    "empty corpus": (lambda p: write(p, "corpus.csv", b"topic,body\n"), ("prepare",), "holds no text"),
    "null text": (lambda p: write(p, "corpus.csv", b"topic,body\na,\n"), ("prepare",), "is empty (null) in row 1"),
    "not utf-8": (lambda p: write(p, "corpus.csv", b"topic,body\na,\xff\n"), ("prepare",), "line 2 is not UTF-8"),
    "no corpus": (lambda p: shutil.rmtree(p.parent / "data/corpus"), LABEL_ONE, "there is no finished table"),
    "empty table": (lambda p: corpus_of(p, {"id": [], "text": []}), LABEL_ONE, "the corpus is empty"),
    "double ids": (lambda p: corpus_of(p, {"id": ["a", "a"], "text": ["x", "y"]}), LABEL_ONE, "more than once: 'a'"),
    "no model": (lambda p: shutil.rmtree(p.parent / "models/one"), LABEL_ONE, "models/one"),
    "one label": (lambda p: config_of(p, "one", id2label={"0": "x"}), LABEL_ONE, "it has only one label"),
    "one made-up label": (lambda p: config_of(p, "one", id2label={"0": "LABEL_0"}), LABEL_ONE, "it has only one label"),
    "made-up labels": (
        lambda p: config_of(p, "one", id2label={"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"}),
        LABEL_ONE,
        "does not name its 3 labels",
    ),
    "wrong count": (lambda p: change(p, "teachers.one.labels", ["x", "y"]), LABEL_ONE, "labels gives 2 names"),
    "double labels": (lambda p: change(p, "teachers.one.labels", ["x", "y", "x"]), LABEL_ONE, "more than once: 'x'"),
    "pickles": (no_weights, LABEL_ONE, "no weights in safetensors"),
    "own code": (lambda p: config_of(p, "one", auto_map={"AutoModel": "m.M"}), LABEL_ONE, "run their own code"),
    "no dropout": (
        lambda p: config_of(p, "one", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0),
        LABEL_ONE,
        "no dropout is active; its config has {",
    ),
    "nan": (nan_weights, LABEL_ONE, "logits are NaN or infinite"),
    "too long": (lambda p: change(p, "label.max_length", 400), LABEL_ONE, "reads at most 64 tokens"),
    "not labelled": (lambda p: shutil.rmtree(p.parent / "data/labels/two"), ("integrate",), "labels/two: there is no"),
    "other K": (lambda p: change(p, "label.passes", 9), ("integrate",), "passes is 3, not 9"),
    "cut shard": (cut, ("integrate",), "two/part-00001.parquet: "),
    "no golden": (lambda p: None, ("train-student",), "golden: there is no finished table"),
    "no router": (lambda p: None, ("evaluate",), "there is no router"),
    "no id": (lambda p: None, ("inspect", "--id", "x"), "no text has the id 'x'"),
}


@pytest.mark.parametrize("mistake", list(MISTAKES))
def test_a_mistake_is_one_line_and_exit_code_2(project: Path, run: Run, mistake: str) -> None:
    make, command, message = MISTAKES[mistake]
    make(project)
    code, out, err = run(*command, "--params", str(project))
    assert code == 2
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert message in err
    assert "Traceback" not in err
    assert err.rstrip().endswith(".")


FAILURES: dict[str, tuple[Exception, int, str]] = {
    "disk full": (OSError(28, "No space left on device", "data/x"), 2, "data/x: No space left on device. Free some"),
    "read only": (OSError(30, "Read-only file system", "data/x"), 2, "Use a disk that can be written"),
    "forbidden": (PermissionError(13, "Permission denied", "data/x"), 2, "Correct the permissions"),
    "input or output": (OSError(5, "Input/output error", "data/x"), 2, "Check the disk"),
    "too many files": (OSError(24, "Too many open files", "data/x"), 2, "ulimit -n"),
    "no memory": (MemoryError(), 2, "out of memory. Lower label.token_budget"),
    "no memory in torch": (RuntimeError("DefaultCPUAllocator: can't allocate memory"), 2, "out of memory"),
    "a fault of ours": (KeyError("x"), 1, "Please report it with the lines above"),
}


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("failure", FAILURES)
def test_what_stops_a_command_is_told_apart_from_a_fault_of_ours(
    project: Path, run: Run, monkeypatch: pytest.MonkeyPatch, failure: str, debug: bool
) -> None:
    error, expected, message = FAILURES[failure]

    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("muki_stages.integrate.integrate", fail)
    code, _, err = run(*(["--debug"] if debug else []), "integrate", "--params", str(project))
    assert code == expected
    assert message in err
    assert ("Traceback" in err) == (debug or expected == 1)


LOCKS = {
    "prepare": "prepare.lock",
    "train-student": "student.lock",
    "evaluate": "evaluate.lock",
    "compare": "compare.lock",
    "integrate": "integrate.lock",
    "embed": "embeddings/embed.lock",
}


@pytest.mark.parametrize("command", LOCKS)
def test_a_second_process_is_refused(project: Path, run: Run, command: str) -> None:
    with only_one(project.parent / "data" / ".work" / LOCKS[command], "working"):
        code, _, err = run(command, "--params", str(project))
    assert code == 2
    assert "another process is" in err


def test_a_missing_option_is_exit_code_2_too(run: Run) -> None:
    code, _, err = run("label")
    assert code == 2
    assert "--teacher" in err


def test_who_interrupts_a_command_is_told_how_to_go_on(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        raise SystemExit(130)

    monkeypatch.setattr(cli, "app", interrupted)
    code, _, err = run("run")
    assert (code, err) == (130, "Interrupted: finished work is kept. Run the command again to go on.\n")


def test_results_as_json_and_how_much_is_said(project: Path, run: Run) -> None:
    params = ("--params", str(project))
    code, out, err = run("--json", "--quiet", "label", "--teacher", "one", *params)
    assert (code, err) == (0, "")
    assert json.loads(out)["rows"] == 30
    code, out, err = run("--json", "integrate", *params)
    assert json.loads(out)["routing"] is None
    assert "golden supervision: 30 texts" in err
    code, out, err = run("--verbose", "label", "--teacher", "one", *params)
    assert "muki_pipeline.labelling.run: one: 4 of 4 shards are labelled already" in err
    code, out, err = run("--quiet", "label", "--teacher", "nobody", *params)
    assert code == 2
    assert "error: " in err
    code, out, err = run("--json", "doctor", *params)
    assert code == json.loads(out)["exit_code"] == 1
    found = json.loads(out)["findings"]
    assert {"level": "warning", "where": "prepare.test"}.items() <= found[3].items()
    warnings = sum(each["level"] == "warning" for each in found)
    assert err.splitlines()[-1] == f"{warnings} warning{'s' * (warnings > 1)}, {len(found) - warnings} ok"
    code, _, err = run("--quiet", "doctor", *params)
    assert [line.split()[0] for line in err.splitlines()] == ["warning"] * warnings, "nothing of what is in order"


def test_stages_are_written_for_the_settings_that_dvc_reads(project: Path, run: Run) -> None:
    other = project.with_name("other.yaml")
    other.write_bytes(project.read_bytes())
    code, _, err = run("dvc", "--params", str(other))
    assert code == 2
    assert "other.yaml: DVC's stages read params.yaml, not this file" in err
