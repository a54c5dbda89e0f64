"""What `run` says at its end."""

from pathlib import Path

import pytest
import yaml

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
