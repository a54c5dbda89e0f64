from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from muki_pipeline import config
from muki_pipeline.blocks import Teacher
from muki_pipeline.config import StudentSettings
from muki_pipeline.errors import MukiError
from muki_pipeline.models.averaging import average
from muki_pipeline.models.teachers import TeacherFiles, locate
from muki_pipeline.training.base import load_base
from muki_stages import average as command
from tests import tiny


def located(root: Path, **labels: list[str]) -> list[TeacherFiles]:
    """Teachers that were fine-tuned a little from one model."""
    files = []
    for number, (name, known) in enumerate(labels.items()):
        model = tiny.model(known, seed=0)
        torch.manual_seed(number)
        with torch.no_grad():
            for weights in model.parameters():
                weights += 0.01 * torch.randn_like(weights)
        model.save_pretrained(root / name)
        tiny.tokenizer().save_pretrained(root / name)
        files.append(locate(name, Teacher(model=name), root))
    return files


def loaded(files: TeacherFiles) -> dict[str, torch.Tensor]:
    return dict(AutoModelForSequenceClassification.from_pretrained(files.folder).state_dict())


def test_the_average_by_hand(tmp_path: Path) -> None:
    files = located(tmp_path, one=["a", "b"], two=["b", "c"])
    model, _ = average(files, ["a", "b", "c"], [[0, 1], [1, 2]])
    one, two = (loaded(each) for each in files)
    name = "bert.encoder.layer.0.attention.self.query.weight"
    torch.testing.assert_close(model.state_dict()[name], (one[name] + two[name]) / 2)
    head, ours, theirs = model.state_dict()["classifier.weight"], one["classifier.weight"], two["classifier.weight"]
    torch.testing.assert_close(head, torch.stack([ours[0], (ours[1] + theirs[0]) / 2, theirs[1]]))
    assert model.config.id2label == {0: "a", 1: "b", 2: "c"}


def test_teachers_without_a_common_origin_are_refused(tmp_path: Path) -> None:
    [one] = located(tmp_path, one=["a", "b"])
    cases = {"seed": {"seed": 5}, "architecture": {"architecture": "roberta"}}
    for name, settings in cases.items():
        tiny.save_teacher(tmp_path / name, ["c", "d"], **settings)
        other = locate(name, Teacher(model=name), tmp_path)
        with pytest.raises(MukiError, match=f"teacher {name}: .*the first teacher"):
            average([one, other], ["a", "b", "c", "d"], [[0, 1], [2, 3]])


def test_a_student_keeps_the_labels_that_it_knows(tmp_path: Path) -> None:
    [files] = located(tmp_path, one=["a", "b"])
    model, _ = load_base(StudentSettings(model="one", max_length=16), ["x", "b", "a"], tmp_path)
    head, before = model.state_dict()["classifier.weight"], loaded(files)["classifier.weight"]
    torch.testing.assert_close(head[1:], before[[1, 0]])
    assert not torch.equal(head[0], before[0])


def test_the_command_writes_a_model_to_start_from(tmp_path: Path) -> None:
    path = tiny.save_project(tmp_path)
    located(tmp_path / "models", **tiny.TEACHER_LABELS)
    done = command.main(tmp_path / "start", path)
    labels = [label for known in tiny.TEACHER_LABELS.values() for label in known]
    assert sorted(done["labels"]) == sorted(labels)
    params, layout = config.load(path)
    settings = params.student.model_copy(update={"model": "start"})
    model, _ = load_base(settings, done["labels"], layout.root)
    start = AutoModelForSequenceClassification.from_pretrained(tmp_path / "start")
    torch.testing.assert_close(model.state_dict()["classifier.weight"], start.state_dict()["classifier.weight"])


def test_a_folder_of_yours_is_not_replaced(tmp_path: Path) -> None:
    path = tiny.save_project(tmp_path)
    located(tmp_path / "models", **tiny.TEACHER_LABELS)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(MukiError, match="is not an earlier average"):
        command.main(tmp_path / "mine", path)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"
    command.main(tmp_path / "start", path)
    command.main(tmp_path / "start", path)
