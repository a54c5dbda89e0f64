"""A command that finds everything done answers at once: it imports no library for networks."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from muki_stages import evaluate
from tests import tiny

HEAVY = ("torch", "transformers", "datasets", "sentence_transformers", "tokenizers")
COMMANDS = {
    "prepare": [],
    "label": ["--teacher", "one"],
    "embed": [],
    "integrate": [],
    "train-student": [],
    "evaluate": [],
    "results": [],
    "report": [],
    "review": ["--force"],
    "inspect": [],
    "run": [],
}
_PROBE = f"""
import json, sys
from muki_stages import cli
try:
    cli.app(sys.argv[1:])
except SystemExit as error:
    assert not error.code
print(json.dumps([name for name in {HEAVY} if name in sys.modules]))
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project after every stage, whose arithmetic is chosen by what is stored."""
    path = tiny.save_project(tmp_path_factory.mktemp("finished"), integrate={"strategy": "posterior", "scorer": "gate"})
    tiny.finish(path)
    tiny.change(path, "label", dtype="auto")
    evaluate.main(path)
    return path


@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_finished_needs_no_torch(finished: Path, command: str) -> None:
    arguments = [command, *COMMANDS[command], "--params", str(finished)]
    probe = [sys.executable, "-c", _PROBE, *arguments]
    done = subprocess.run(probe, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == [], done.stderr
