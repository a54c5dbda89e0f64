"""The short part of the campaign of faults (`make faults`)."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults import campaign


@pytest.mark.slow
def test_some_faults_of_each_kind_do_no_harm() -> None:
    # In a process of its own: its children are forked from a server that has imported what they need.
    command = [sys.executable, "-m", "tests.faults", "short"]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    for kind in ("several processes", "a flipped bit", "killed at a random moment", "disk full", "read-only"):
        assert kind in done.stdout


def test_cases_that_there_was_no_time_for_are_counted_by_kind(tmp_path: Path) -> None:
    jobs = [("a flipped bit", lambda root: []), ("killed", lambda root: ["half a file"])]
    done = campaign.run_all(iter(jobs), tmp_path, budget=60)
    assert {kind: (row.runs, row.left, row.bad) for kind, row in done.items()} == {
        "a flipped bit": (1, 0, []),
        "killed": (1, 0, ["half a file"]),
    }
    late = campaign.run_all(iter(jobs), tmp_path, budget=-1)
    assert {kind: (row.runs, row.left) for kind, row in late.items()} == {"a flipped bit": (0, 1), "killed": (0, 1)}
