"""Nothing stale is used by hand either: golden table and student are held against what lies here."""

import json
import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from muki_pipeline import config
from muki_pipeline.corpus.prepare import prepare
from muki_pipeline.embedding import loaded_encoder
from muki_pipeline.embedding.run import embed_corpus
from muki_pipeline.errors import MukiError
from muki_pipeline.evaluation import predict
from muki_pipeline.evaluation.measured_on import read_record, why_stale
from muki_pipeline.evaluation.review import sample_review
from muki_pipeline.labelling import labeller
from muki_pipeline.labelling.run import label_corpus
from muki_pipeline.layout import TRAINING, open_golden
from muki_pipeline.models.loaded import student as students
from muki_pipeline.models.students import find_student
from muki_pipeline.reporting.report.page import write_report
from muki_pipeline.supervision.integrate import integrate
from muki_pipeline.training.student.train import train_student
from muki_stages import evaluate
from tests import tiny

Command = Callable[[Path], Any]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tiny.save_project(tmp_path_factory.mktemp("fresh"), integrate={})
    tiny.finish(path)
    evaluate.main(path)
    return path


@pytest.fixture
def project(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished.parent, tmp_path / "project")
    return tmp_path / "project" / "params.yaml"


def train(path: Path) -> dict[str, float]:
    return train_student(*config.load(path))


def relabel(path: Path) -> None:
    """Other weights in a teacher's folder, and their labels."""
    params, layout = config.load(path)
    tiny.save_teacher(layout.root / "models" / "one", tiny.TEACHER_LABELS["one"], seed=5)
    label_corpus("one", params.teachers["one"], params.label, layout)


def embed_anew(path: Path) -> None:
    tiny.change(path, "embed", max_length=8)
    embed_corpus(*config.load(path))


def prepare_more(path: Path) -> None:
    source = path.parent / "corpus.csv"
    source.write_text(source.read_text() + 'oak,"w1 w2 w3"\n')
    params, layout = config.load(path)
    prepare(params.prepare, layout)


@pytest.mark.parametrize("command", [train, evaluate.main])
@pytest.mark.parametrize(
    ("change", "told"),
    [
        (relabel, "'labels of one'.*muki-pipeline run"),
        (embed_anew, "'embeddings', 'label names'"),
        (prepare_more, "'corpus'.*muki-pipeline run"),
    ],
)
def test_tables_that_came_later_are_named(project: Path, command: Command, change: Command, told: str) -> None:
    change(project)
    with pytest.raises(MukiError, match=f"golden: was made before what lies here now: {told}"):
        command(project)


@pytest.mark.parametrize("command", [train, evaluate.main])
@pytest.mark.parametrize(
    ("block", "values", "told", "fix"),
    [
        ("integrate", {"reweight": "none"}, "integrate.reweight", "integrate and train-student"),
        ("label", {"passes": 4}, "label.passes", "run"),
        ("label", {"dtype": "bfloat16"}, "label.dtype", "run"),
        ("teachers", {"two": {"model": "models/two", "dropout": 0.3}}, "teachers.two.dropout", "run"),
        ("student", {"temperature": 2.0}, "student.temperature", "integrate and train-student"),
    ],
)
def test_settings_that_came_later_are_named(
    project: Path, command: Command, block: str, values: dict[str, Any], told: str, fix: str
) -> None:
    tiny.change(project, block, **values)
    with pytest.raises(MukiError, match=f"was made with another {told} than params.yaml's. Run muki-pipeline {fix}"):
        command(project)


@pytest.mark.parametrize("command", [train, evaluate.main])
@pytest.mark.parametrize(
    ("block", "values", "told"),
    [
        ("embed", {"max_length": 8}, "other settings"),
        ("student", {"model": "models/other"}, "by the encoder models/base, not models/other"),
    ],
)
def test_embeddings_of_other_settings_are_named(
    project: Path, command: Command, block: str, values: dict[str, Any], told: str
) -> None:
    shutil.copytree(project.parent / "models" / "base", project.parent / "models" / "other")
    tiny.change(project, block, **values)
    with pytest.raises(MukiError, match=rf"texts: was made .*{told}.* Run muki-pipeline embed"):
        command(project)


@pytest.mark.parametrize("command", [train, evaluate.main])
def test_other_teachers_are_named(project: Path, command: Command) -> None:
    shutil.copytree(project.parent / "models" / "two", project.parent / "models" / "three")
    tiny.change(project, "teachers", two={"model": "models/three"})
    with pytest.raises(MukiError, match=r"two: does not fit params\.yaml: model is 'models/two', not 'models/three'"):
        command(project)
    tiny.change(project, "teachers", two={"model": "models/two"}, three={"model": "models/three"})
    with pytest.raises(MukiError, match=r"was made from the teachers one, two, not .* Run muki-pipeline run"):
        command(project)


def test_a_student_of_other_settings_is_not_measured(project: Path) -> None:
    tiny.change(project, "student", card_examples=2)
    evaluate.main(project)
    tiny.change(project, "student", epochs=3)
    with pytest.raises(MukiError, match=r"trained with another student\.epochs than params\.yaml's"):
        evaluate.main(project)


def test_more_examples_on_the_card_train_nothing(
    project: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _, layout = config.load(project)
    trained = find_student(layout.student).training
    weights = (layout.student / "model.safetensors").read_bytes()
    monkeypatch.setattr("muki_pipeline.training.student.fit.fit", None)  # nothing is trained
    tiny.change(project, "student", card_examples=2)
    train(project)
    student = find_student(layout.student)
    assert (layout.student / "README.md").read_text().count('"card_examples": 2') == 1
    assert student.training["settings"] == trained["settings"] | {"card_examples": 2}
    assert {name: student.training[name] for name in ("key", "losses", "golden")} == {
        name: trained[name] for name in ("key", "losses", "golden")
    }
    assert (layout.student / "model.safetensors").read_bytes() == weights
    (layout.student / "README.md").write_text("mine")
    tiny.change(project, "student", card_examples=1)
    with caplog.at_level(logging.WARNING):
        train(project)
    assert (layout.student / "README.md").read_text() == "mine"
    assert "README.md was changed by hand, so it stays" in caplog.text
    (layout.student / "README.md").unlink()
    train(project)
    assert '"card_examples": 1' in (layout.student / "README.md").read_text()


def test_figures_are_never_of_a_student_that_came_while_it_was_measured(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process may train it anew at any moment; answers of one must not be stored under the other's key."""
    _, layout = config.load(project)
    shutil.copytree(layout.student, project.parent / "first")
    tiny.change(project, "student", epochs=3)
    train(project)
    shutil.copytree(layout.student, project.parent / "second")

    def put(name: str) -> None:
        shutil.rmtree(layout.student)
        shutil.copytree(project.parent / name, layout.student)

    load = students.AutoModelForSequenceClassification.from_pretrained

    def load_another(*arguments: Any, **named: Any) -> Any:
        put("first")
        return load(*arguments, **named)

    with monkeypatch.context() as patched:
        patched.setattr(students.AutoModelForSequenceClassification, "from_pretrained", load_another)
        with pytest.raises(MukiError, match=r"student: was replaced while it was read\. Run the command again"):
            evaluate.main(project)
    with pytest.raises(MukiError, match=r"trained with another student\.epochs"):
        evaluate.main(project)
    put("second")
    before = find_student(layout.student)
    assert before.key(24)
    with monkeypatch.context() as patched:
        patched.setattr(students.AutoModelForSequenceClassification, "from_pretrained", load_another)
        with pytest.raises(MukiError, match=r"student: was replaced while it was read"):
            students.load_student(layout.student)
    with pytest.raises(MukiError, match=r"student: was replaced while it was measured"):
        predict.predict_student(before, ["w1"], config.load(project)[0])
    put("second")
    measure = evaluate.evaluate

    def measure_and_replace(*arguments: Any) -> Any:
        found = measure(*arguments)
        put("first")
        return found

    monkeypatch.setattr(evaluate, "evaluate", measure_and_replace)
    with pytest.raises(MukiError, match=r"what was measured has changed meanwhile: student"):
        evaluate.main(project)


def test_a_teacher_that_is_overwritten_while_it_is_read_labels_nothing(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params, layout = config.load(project)
    load = labeller.load

    def load_and_overwrite(*arguments: Any) -> Any:
        found = load(*arguments)
        tiny.save_teacher(layout.root / "models" / "one", tiny.TEACHER_LABELS["one"], seed=6)
        return found

    relabelled = params.label.model_copy(update={"passes": 4})
    with monkeypatch.context() as patched:
        patched.setattr(labeller, "load", load_and_overwrite)
        with pytest.raises(MukiError, match="teacher one: its files were changed while they were read"):
            label_corpus("one", params.teachers["one"], relabelled, layout)
    label_corpus("one", params.teachers["one"], relabelled, layout)


def test_an_encoder_that_is_overwritten_while_it_is_read_embeds_nothing(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params, layout = config.load(project)
    load = loaded_encoder.load_text_encoder

    def load_and_overwrite(*arguments: Any) -> Any:
        found = load(*arguments)
        tiny.save_pretrained_encoder(layout.root / "models" / "base", seed=5)
        return found

    monkeypatch.setattr(loaded_encoder, "load_text_encoder", load_and_overwrite)
    shorter = params.model_copy(update={"embed": params.embed.model_copy(update={"max_length": 8})})
    with pytest.raises(MukiError, match="models/base: its files were changed while they were read"):
        embed_corpus(shorter, layout)


def test_gold_labels_that_were_removed_are_made_anew(project: Path) -> None:
    _, layout = config.load(project)
    shutil.rmtree(layout.gold)
    with pytest.raises(MukiError, match=r"there are no gold labels, .*\. Run muki-pipeline prepare"):
        evaluate.main(project)


def ask(path: Path) -> None:
    sample_review(*config.load(path), 5)


def report(path: Path) -> None:
    write_report(*config.load(path))


def test_a_refusal_leaves_the_students_folder_as_it_is(project: Path) -> None:
    _, layout = config.load(project)
    (layout.student / "notes.txt").write_text("mine")
    tiny.change(project, "integrate", reweight="none")
    with pytest.raises(MukiError, match=r"integrate\.reweight"):
        train(project)
    assert (layout.student / "notes.txt").read_text() == "mine"
    assert (layout.student / "config.json").exists()


def test_a_kept_model_that_was_damaged_is_kept_anew_with_the_notes_of_today(project: Path) -> None:
    _, layout = config.load(project)
    train(project)
    [kept] = layout.kept_students.iterdir()
    (kept / "config.json").write_text("damaged")
    (layout.student / "README.md").write_text("mine")
    train(project)
    assert (kept / "config.json").read_bytes() == (layout.student / "config.json").read_bytes()
    assert (kept / "README.md").read_text() == "mine"


@pytest.mark.parametrize("command", [ask, report])
def test_other_embeddings_are_not_asked(project: Path, command: Command) -> None:
    embed_anew(project)
    with pytest.raises(MukiError, match="was made before what lies here now: 'embeddings'"):
        command(project)


def test_a_file_in_the_routers_folder_stays(project: Path, caplog: pytest.LogCaptureFixture) -> None:
    params, layout = config.load(project)
    (layout.router / "notes.md").write_text("mine")
    with caplog.at_level(logging.WARNING):
        integrate(params, layout, layout.golden)
    [moved] = layout.work.glob("router-changed-*")
    assert (moved / "notes.md").read_text() == "mine"
    assert str(moved) in caplog.text


def test_a_router_of_another_table_is_not_asked(project: Path) -> None:
    params, layout = config.load(project)
    shutil.copytree(layout.golden, project.parent / "kept")
    tiny.change(project, "integrate", answers=None, scorer="calibrated")
    integrate(*config.load(project), layout.golden)
    shutil.rmtree(layout.golden)
    (project.parent / "kept").rename(layout.golden)  # as if only this folder was pulled
    tiny.change(project, "integrate", scorer="gate")
    with pytest.raises(MukiError, match="router: belongs to another golden table"):
        sample_review(params, layout, 5)
    with pytest.raises(MukiError, match=r"router: was fitted with another integrate\.scorer"):
        evaluate.main(project)


def test_a_table_of_an_older_version_is_completed_and_the_student_stays(project: Path) -> None:
    params, layout = config.load(project)
    before = (layout.student / TRAINING).stat().st_ino
    for folder in (layout.golden, layout.work / "golden"):
        manifest = json.loads((folder / "manifest.json").read_text())
        for name in ("tables", "router"):
            del manifest[name]
        (folder / "manifest.json").write_text(json.dumps(manifest))
    sample_review(params, layout, 5)
    assert integrate(params, layout, layout.golden).is_new
    assert {*open_golden(layout.golden).facts["tables"]} == {
        *("corpus", "embeddings", "label names", "labels of one", "labels of two")
    }
    train(project)
    assert (layout.student / TRAINING).stat().st_ino == before


def test_figures_of_a_teacher_that_was_labelled_anew_are_stale(project: Path) -> None:
    params, layout = config.load(project)
    record = read_record(layout)
    assert record is not None
    assert why_stale(record, params, layout) == ""
    relabel(project)
    assert why_stale(record, params, layout).endswith("something else has come: labels of one")
    shutil.rmtree(layout.labels("one"))
    assert why_stale(record, params, layout) == "", "a clone may lack them"
    older = replace(record, inputs={name: record.inputs[name] for name in ("golden table", "student")})
    assert why_stale(older, params, layout) == ""
    tiny.change(project, "evaluate", routing_rows_per_label=3)
    assert "settings" in why_stale(record, *config.load(project))


def test_going_back_to_earlier_settings_trains_nothing(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, layout = config.load(project)
    first = find_student(layout.student).key(24)
    for epochs in (1, 3, 4):
        tiny.change(project, "student", epochs=epochs)
        train(project)
    monkeypatch.setattr("muki_pipeline.training.student.fit.fit", None)
    for epochs in (3, 1, 4):
        tiny.change(project, "student", epochs=epochs)
        train(project)
        assert find_student(layout.student).training["settings"]["epochs"] == epochs
    shutil.rmtree(layout.student)
    train(project)
    assert find_student(layout.student).training["settings"]["epochs"] == 4
    assert len(list(layout.kept_students.iterdir())) == 3
    monkeypatch.undo()
    tiny.change(project, "student", epochs=2)
    train(project)
    assert find_student(layout.student).key(24) == first, "not kept any more, so trained again"


@pytest.mark.parametrize("note", ["notes.txt", "notes.md"])
def test_a_file_in_the_students_folder_costs_no_training(
    project: Path, note: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, layout = config.load(project)
    (layout.student / note).write_text("mine")
    with pytest.raises(MukiError, match="its files are not those that the training saved"):
        find_student(layout.student)
    monkeypatch.setattr("muki_pipeline.training.student.fit.fit", None)  # nothing is trained
    with caplog.at_level(logging.WARNING):
        train(project)
    assert find_student(layout.student).labels
    moved = layout.kept_students.with_name("student-changed-1")
    assert str(moved) in caplog.text
    assert (moved / note).read_text() == "mine"


def test_names_of_labels_that_were_removed_are_missed(project: Path) -> None:
    named = {"one": {"model": "models/one", "labels": ["x", "y", "z"]}, "two": {"model": "models/two"}}
    tiny.change(project, "teachers", **named)
    params, layout = config.load(project)
    label_corpus("one", params.teachers["one"], params.label, layout)
    embed_corpus(params, layout)
    integrate(params, layout, layout.golden)
    tiny.change(project, "teachers", one={"model": "models/one"})
    for command in (train, lambda path: integrate(*config.load(path), layout.golden)):
        with pytest.raises(MukiError, match=r"labels is \['x', 'y', 'z'\], not None"):
            command(project)


def test_names_that_the_labels_have_already_may_be_written_down(project: Path) -> None:
    tiny.change(project, "teachers", one={"model": "models/one", "labels": tiny.TEACHER_LABELS["one"]})
    params, layout = config.load(project)
    assert not integrate(params, layout, layout.golden).is_new
