"""What the stages that train keep for whoever removes their outputs."""

import re
import shutil
from pathlib import Path

import pyarrow as pa
import pytest

from muki_pipeline import config
from muki_pipeline.store.table import read_table_file, write_table_file
from muki_stages import train_student, train_teacher
from tests import tiny


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A finished project that can train a teacher of its own."""
    settings = {"model": "models/base", "steps": 3, "batch_size": 4, "max_length": 16, "precision": "float32"}
    changes = {
        "train_teacher": {"settings": settings, "teachers": {"trees": {"labels": ["oak", "elm"]}}},
        "prepare": tiny.params([])["prepare"] | {"rows_per_label": 4},
    }
    params_file = tiny.save_project(tmp_path, **changes)
    tiny.finish(params_file)
    return params_file


def test_a_finished_training_is_not_done_again_when_its_folder_is_removed(
    path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """DVC removes what a stage has written before it runs the stage."""
    _, layout = config.load(path)
    train_student.main(path)
    train_teacher.main("trees", path)
    weights = [folder / "model.safetensors" for folder in (layout.student, layout.teacher("trees"))]
    before = [file.read_bytes() for file in weights]
    capfd.readouterr()
    for file in weights:
        shutil.rmtree(file.parent)
    train_student.main(path)
    train_teacher.main("trees", path)
    assert re.search(r": [\d,]+ steps", capfd.readouterr().err) is None
    assert [file.read_bytes() for file in weights] == before


def test_only_rows_of_its_own_labels_train_a_teacher_again(path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    _, layout = config.load(path)
    train_teacher.main("trees", path)
    rows = read_table_file(layout.teacher_train, ["text", "label"], "")

    def trains_again(label: str) -> bool:
        more = pa.table({"text": ["one more text"], "label": [label]}).cast(rows.schema)
        write_table_file(layout.teacher_train, pa.concat_tables([rows, more]))
        capfd.readouterr()
        train_teacher.main("trees", path)
        return re.search(r": [\d,]+ steps", capfd.readouterr().err) is not None

    assert not trains_again("apple")
    assert trains_again("elm")
