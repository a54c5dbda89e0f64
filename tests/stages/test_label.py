"""What the stage `label` says about a teacher."""

import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from transformers import AutoModelForSequenceClassification

from muki_pipeline import config
from muki_pipeline.corpus.prepare import prepare
from muki_pipeline.errors import MukiError
from muki_pipeline.labelling.labeller import Labeller
from muki_pipeline.labelling.outcome import Throughput
from muki_pipeline.labelling.run import LabellingSummary
from muki_pipeline.store.table import Table
from muki_stages import label
from tests import tiny


@pytest.mark.parametrize(("factor", "warns"), [(0.01, True), (1e3, False)])
def test_a_teacher_whose_answers_are_nearly_uniform_is_named(
    factor: float, warns: bool, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tiny.save_project(tmp_path)
    teacher = AutoModelForSequenceClassification.from_pretrained(tmp_path / "models" / "one")
    with torch.no_grad():
        teacher.classifier.weight *= factor
        teacher.classifier.bias *= 0
    teacher.save_pretrained(tmp_path / "models" / "one")
    params, layout = config.load(path)
    prepare(params.prepare, layout)
    done = label.main("one", path)
    assert done["close_to_uniform"] == (done["rows"] if warns else 0)
    assert ("warning: teacher one says almost nothing: on 30 of 30 texts" in capfd.readouterr().err) == warns


def test_a_run_whose_work_another_machine_has_done_has_no_cost_to_tell(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    params, _ = config.load(tiny.save_project(tmp_path))
    label._tell("one", LabellingSummary(30, 8, 0, 0, Throughput(), 0.1, None, ""), params)
    assert "30 texts, 8 of them labelled now" in " ".join(capfd.readouterr().err.split())


def answers(path: Path, content: str, **settings: Any) -> None:
    """Let the second teacher be a file of answers."""
    (path.parent / "two.csv").write_text(content)
    values = yaml.safe_load(path.read_text())
    values["teachers"]["two"] = {"answers": "two.csv", **settings}
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    params, layout = config.load(path)
    prepare(params.prepare, layout)


@pytest.mark.parametrize(("oak", "warns"), [(0.52, True), (0.9, False)])
def test_a_file_whose_answers_are_nearly_uniform_is_named(
    oak: float, warns: bool, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path, texts = tiny.save_project(tmp_path), sorted({*tiny.texts(30, seed=1)})
    rows = [f'"{text}",{oak},{1 - oak:.2f}' for text in texts[2:]]
    answers(path, "\n".join(["text,oak,elm", *rows]))
    done = label.main("two", path)
    answered = done["rows"] - done["unanswered"]
    assert 0 < answered < done["rows"]
    assert done["close_to_uniform"] == (answered if warns else 0)
    expected = f"warning: teacher two says almost nothing: on {answered} of {answered} texts"
    assert (expected in capfd.readouterr().err) == warns


def test_how_a_file_is_read_and_what_looks_wrong_in_it_is_told_each_time(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path, texts = tiny.save_project(tmp_path), sorted({*tiny.texts(30, seed=1)})
    rows = [f'"{text}",{"oak" if number else "oaks"},7' for number, text in enumerate(texts)]
    answers(path, "\n".join(["text,label,length", *rows, f'"{texts[0]}",oak,7']))
    for _ in range(2):  # the second time, all is finished
        label.main("two", path)
        said = capfd.readouterr().err
        assert "one label a row, in column 'label'; no column of probabilities; no samples; columns not used" in said
        assert "resemble frequent ones: 'oaks' (1, did you mean 'oak'?)" in said
        assert "1 text has several answers that differ" in said


def test_too_few_answers_because_of_unknown_labels_says_so(tmp_path: Path) -> None:
    path, texts = tiny.save_project(tmp_path), sorted({*tiny.texts(30, seed=1)})
    content = "\n".join(["text,label", *(f'"{text}",OAK' for text in texts)])
    answers(path, content, labels=["oak", "elm"])
    with pytest.raises(MukiError, match="'OAK'") as error:
        label.main("two", path)
    assert error.value.fix == "Correct the labels, or list them in teachers.two.labels"
    answers(path, content.replace("OAK", "oak").replace(texts[5], "other", 1), labels=["oak", "elm"], most_unanswered=0)
    with pytest.raises(MukiError) as error:
        label.main("two", path)
    assert error.value.fix.startswith("Add answers")


def test_each_of_several_teachers_has_its_own_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tiny.save_project(tmp_path)
    params, layout = config.load(path)
    prepare(params.prepare, layout)
    labels = Labeller.label

    def slow(self: Labeller, *arguments: Any) -> Any:
        time.sleep(0.3 if self.files.name == "one" else 0)
        return labels(self, *arguments)

    monkeypatch.setattr(Labeller, "label", slow)
    done = label.main("all", path)
    shards = len(Table.open(layout.labels("one"), "").shards)
    assert 0 < done["two"]["seconds"] < 0.3 * shards < done["one"]["seconds"]
    again = label.main("all", path)
    assert again["one"]["seconds"] == 0
