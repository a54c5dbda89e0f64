"""The short part of the campaign of faults (`make faults`)."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_some_faults_of_each_kind_do_no_harm() -> None:
    # In a process of its own: its children are forked from a server that has imported what they need.
    command = [sys.executable, "-m", "tests.faults", "short"]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "not run" not in done.stdout
    for kind in ("several processes", "a flipped bit", "killed at a random moment", "disk full", "read-only"):
        assert kind in done.stdout
