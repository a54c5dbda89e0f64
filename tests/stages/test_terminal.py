"""What people see on terminals of all kinds."""

import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from muki_stages import inspection, terminal
from tests import tiny


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tiny.save_project(
        tmp_path_factory.mktemp("terminal"), teachers={"one": ["äpple", "pear"], "two": ["退款", "elm"]}
    )
    tiny.label(path)
    return path


@pytest.mark.parametrize("columns", ["30", "80", "200"])
def test_every_figure_is_shown_on_a_terminal_of_any_width(
    labelled: Path, columns: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    terminal.configure(quiet=False, verbose=False, as_json=False)
    inspection.main(labelled, None, as_json=True)
    content = json.loads(capsys.readouterr().out)
    inspection.main(labelled, None, as_json=False)
    shown = capsys.readouterr().out
    for teacher in content["teachers"].values():
        assert f"{teacher['mean_entropy']:.4f}" in shown
        assert teacher["teacher_digest"][:8] in shown


def test_a_terminal_without_a_character_shows_its_number(labelled: Path) -> None:
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    text_id = pl.read_parquet(labelled.parent / "data" / "corpus" / "*.parquet")["id"][0]
    for options in ([], ["--id", text_id]):
        command = [sys.executable, "-m", "muki_stages.cli", "inspect", *options, "--params", str(labelled)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
    assert "\\u9000\\u6b3e" in done.stdout
