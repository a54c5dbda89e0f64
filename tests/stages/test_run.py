"""The order of `run`, and what it says at its end."""

from pathlib import Path

import pytest
import yaml

from muki_pipeline import config
from muki_pipeline.api import Project
from muki_pipeline.errors import MukiError
from muki_stages import run
from tests import tiny


@pytest.mark.parametrize("has_test", [True, False])
def test_run_ends_with_how_good_the_student_is_and_what_to_do_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], has_test: bool
) -> None:
    path = tiny.save_project(tmp_path)
    if not has_test:
        content = yaml.safe_load(path.read_text())
        del content["prepare"]["test"], content["prepare"]["corpus"]["label"]
        path.write_text(yaml.safe_dump(content, sort_keys=False))
    done = run.main(path)
    how_good, where, *commands = capsys.readouterr().err.strip().splitlines()[-5:]
    if has_test:
        student = done["evaluate"]["student"]
        assert how_good.startswith(f"the student is right on {student['accuracy']:.3f} of {student['rows']} test texts")
    else:
        assert how_good.startswith("how good it is, nobody knows")
    assert where == f"the student is in {tmp_path / 'data' / 'student'}"
    assert [line.split()[1] for line in commands] == ["report", "review", "predict"]


@pytest.mark.parametrize("way", ["command", "Python"])
def test_a_fault_in_a_file_of_answers_is_told_before_a_network_runs(tmp_path: Path, way: str) -> None:
    path = tiny.save_project(tmp_path)
    (tmp_path / "two.csv").write_text("text,oak,elm\nw1,0.5,0.6\n")
    content = yaml.safe_load(path.read_text())
    content["teachers"]["two"] = {"answers": "two.csv"}
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    assert [*content["teachers"]] == ["one", "two"]
    with pytest.raises(MukiError, match=r"row 1 sum to 1\.1"):
        run.main(path) if way == "command" else Project.load(path).train()
    layout = config.load(path)[1]
    assert layout.corpus.exists()
    assert not layout.labels("one").exists()
