from pathlib import Path

import pytest
import yaml

from pipeline import config
from pipeline.errors import MukiError
from pipeline.setup import look
from pipeline.setup.settings import Texts, dvc_stages, render, write_project
from tests import tiny

ROOT = Path(__file__).parents[3]


def test_what_is_written_is_valid_and_says_what_was_found(tmp_path: Path) -> None:
    tiny.save_teacher(tmp_path / "one", ["cancel: order", "b"])
    tiny.save_teacher(tmp_path / "two", ["Cancel Order", "no"])
    teachers = [look.find_teacher(name, name, tmp_path) for name in ("one", "two")]
    pairs = look.pairs_of_labels({each.files.name: each.files.labels for each in teachers})
    text = render(Texts("a.csv", "body"), Texts("b.csv", "body", "topic"), teachers, 16, {"model": "base"}, pairs)
    write_project(tmp_path, text, has_test=True)
    params, _ = config.load(tmp_path / "params.yaml")
    assert params.teachers["two"].model == "two"
    assert params.prepare.test is not None
    assert params.label.max_length == params.student.max_length == params.embed.max_length == 16
    lines = text.splitlines()
    start = lines.index("# integrate:")
    uncommented = yaml.safe_load("\n".join(line.removeprefix("# ") for line in lines[start : start + 3]))
    assert uncommented == {"integrate": {"aliases": {"two": {"Cancel Order": "cancel: order"}}}}
    with pytest.raises(MukiError, match="is there already"):
        write_project(tmp_path, text, has_test=True)
    write_project(tmp_path, text, has_test=True, force=True)


def test_the_stages_are_the_projects_own_without_its_code() -> None:
    own = yaml.safe_load((ROOT / "dvc.yaml").read_text())
    for stage in own["stages"].values():
        stage = stage.get("do", stage)
        stage["deps"] = [path for path in stage["deps"] if not path.startswith("pipeline/")]
        if not stage["deps"]:
            del stage["deps"]
    assert yaml.safe_load(dvc_stages(has_test=True)) == own
    without = yaml.safe_load(dvc_stages(has_test=False))["stages"]
    assert without == {name: stage for name, stage in own["stages"].items() if name != "evaluate"}
