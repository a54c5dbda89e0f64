"""What people see on terminals of all kinds."""

import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from rich.cells import cell_len
from rich.console import Console

from muki_stages import doctor, evaluate, inspection, results, run, terminal
from tests import tiny


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tiny.save_project(
        tmp_path_factory.mktemp("terminal"), teachers={"one": ["äpple", "pear"], "two": ["退款", "elm"]}
    )
    tiny.label(path)
    return path


def test_a_warning_of_the_library_looks_like_one_of_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.configure(quiet=True, verbose=True, as_json=False)
    log = logging.getLogger("muki_pipeline.training")
    log.warning("kept in %s", "a folder")
    log.info("done")
    assert capsys.readouterr().err == "warning: kept in a folder\nmuki_pipeline.training: done\n"
    terminal.configure(quiet=False, verbose=False, as_json=False)


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
        assert f"{teacher['mean_entropy']:.3f}" in shown
        assert teacher["teacher_digest"][:8] in shown


ESCAPE = re.compile(r"\x1b\[[0-9;]*m")
COMMANDS = ["results", "inspect", "inspect --id", "doctor", "run"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project after every stage, whose names and texts are longer than a narrow terminal is wide."""
    long = "comp-sys-ibm-pc-hardware-and-much-more-of-it"
    teachers = {"one": ["apple", f"{long} 退款"], "two": ["oak", "elm"], f"{long}-teacher": ["fir", "fig"]}
    path = tiny.save_project(tmp_path_factory.mktemp("finished"), teachers=teachers)
    tiny.finish(path)
    evaluate.main(path)
    return path


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What a command shows on a terminal of so many columns, or where there is none."""

    def call(command: str, path: Path) -> None:
        name, *options = command.split()
        if name == "inspect":
            text_id = pl.read_parquet(path.parent / "data" / "corpus" / "*.parquet")["id"][0]
            inspection.main(path, text_id if options else None, as_json=False)
            return
        {"results": results, "doctor": doctor, "run": run}[name].main(path)

    def show(command: str, path: Path, columns: int | None) -> str:
        measured = json.loads((path.parent / "data" / "metrics.json").read_text())
        for stage in ("prepare", "label", "embed", "integrate", "train_student", "evaluate"):
            monkeypatch.setattr(f"muki_stages.{stage}.main", lambda *given: measured)
        monkeypatch.setenv("COLUMNS", str(columns or 40))
        monkeypatch.delenv("NO_COLOR", raising=False)
        if columns:
            monkeypatch.setenv("FORCE_COLOR", "1")
        else:
            monkeypatch.delenv("FORCE_COLOR", raising=False)
        monkeypatch.setattr(terminal, "STDERR", Console(stderr=True))
        terminal.configure(quiet=False, verbose=False, as_json=False)
        call(command, path)
        return "".join(capsys.readouterr())

    return show


@pytest.mark.parametrize("command", COMMANDS)
def test_nothing_is_wider_than_the_terminal_or_lost(finished: Path, shown: Callable[..., str], command: str) -> None:
    """Lines are compared without what only lays them out."""
    layout = re.compile(r"[\s─]")
    narrow, usual, wide, plain = (shown(command, finished, columns) for columns in (40, 80, 200, None))
    assert "\x1b" not in plain
    assert max(map(len, plain.splitlines())) > 80, "without a terminal, lines stay whole"
    for columns, text in ((40, narrow), (80, usual), (200, wide)):
        assert "\x1b" in text
        assert "…" not in text
        lines = ESCAPE.sub("", text).splitlines()
        assert max(cell_len(line) for line in lines) <= columns
        if command != "doctor":  # it tells seconds and free space, which change
            figures = r"\d+\.\d{3}(?!\d)|\b[0-9a-f]{8}\b"
            assert sorted(re.findall(figures, text)) == sorted(re.findall(figures, plain))
    if command != "doctor":
        assert sorted(layout.sub("", ESCAPE.sub("", wide))) == sorted(layout.sub("", plain))


@pytest.mark.parametrize("columns", [16, 40, 200])
def test_figures_end_at_the_same_place(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("FORCE_COLOR", "1")
    rows = [
        ["a", "0.123", "1,234"],
        ["a name longer than many", "10.123", "7,777"],
        ["b", "", "1,222"],
        ["c", "-1.123"],
    ]
    terminal.show("A title that is long", ["name", "a value of any kind", "texts"], rows)
    lines = [line.rstrip() for line in ESCAPE.sub("", capsys.readouterr().out).splitlines()]
    assert max(map(len, lines)) <= columns
    shares = {line.index(".123") for line in lines if ".123" in line}
    counts = {len(line) for line in lines if re.search(r"\d,\d{3}$", line)}
    assert (len(shares), len(counts)) == (1, 1)
    assert sum(".123" in line for line in lines) == 3


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_progress_shows_whole_figures(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: int
) -> None:
    monkeypatch.setattr(terminal, "STDERR", Console(stderr=True, width=columns, force_terminal=True))
    with terminal.progress() as bars:
        bars.begin("label with intents in bfloat16", 123_456, "texts").advance(23_456)
    shown = ESCAPE.sub("", capsys.readouterr().err)
    assert " 23456/123456 -:--:--" in shown or "23456/123456" in shown
    assert "label with" in shown


@pytest.mark.parametrize("module", ["results", "inspection", "doctor", "run", "compare"])
def test_what_commands_show_goes_through_one_module(module: str) -> None:
    """`rich.text` is for words in bold; tables, boxes, colours and consoles are chosen in `terminal` alone."""
    source = (Path(terminal.__file__).parent / f"{module}.py").read_text()
    assert not re.search(r"rich\.(?!text)|from rich import|print\((?!json)|\b(green|yellow|red|bold|dim)\b", source)
    assert "from muki_stages.terminal import" in source


def test_colours_say_how_bad_it_is(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(terminal, "STDERR", Console(stderr=True))
    for level in ("ok", "warning", "error"):
        terminal.finding(level, "x")
    terminal.warn("x")
    terminal.fail("x")
    said = capsys.readouterr().err
    assert re.findall(r"\x1b\[(\d+)m *(\w+)\x1b", said) == [
        ("32", "ok"),
        ("33", "warning"),
        ("31", "error"),
        ("33", "warning"),
        ("31", "error"),
    ]


def test_a_terminal_without_a_character_shows_its_number(labelled: Path) -> None:
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    text_id = pl.read_parquet(labelled.parent / "data" / "corpus" / "*.parquet")["id"][0]
    for options in ([], ["--id", text_id]):
        command = [sys.executable, "-m", "muki_stages.cli", "inspect", *options, "--params", str(labelled)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
    assert "\\u9000\\u6b3e" in done.stdout
