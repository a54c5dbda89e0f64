"""What people see on the terminal: lines, progress bars, and text that cannot do anything but be shown."""

import logging
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

STDERR = Console(stderr=True)
WORTH_SAYING = 60
"""Seconds of work from which the expected time is announced."""
_WIDE = 10_000
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


_quiet = _as_json = False


def configure(*, quiet: bool, verbose: bool, as_json: bool) -> None:
    """Choose what is shown: `quiet` hides outcomes, `verbose` adds the library's log, `as_json` hides tables."""
    global _quiet, _as_json
    _quiet, _as_json = quiet, as_json
    shown = logging.StreamHandler()
    shown.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    logger = logging.getLogger("muki_pipeline")
    logger.handlers = [shown]
    logger.setLevel(logging.INFO if verbose else logging.WARNING)


def wants_json() -> bool:
    """Whether the result is printed as JSON, so that tables are left out."""
    return _as_json


def say(line: str) -> None:
    """One line of outcome on stderr, whatever the width of the terminal; nothing with --quiet."""
    if not _quiet:
        warn(line)


def warn(line: str) -> None:
    """One line on stderr that is shown even with --quiet."""
    STDERR.print(line, soft_wrap=True, highlight=False, markup=False)


def plain(text: str) -> Text:
    """A text from outside, for a table or a console: no markup, and control characters made visible."""
    return Text(_CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text))


def show(table: Table) -> None:
    """A table on stdout; where the terminal is too narrow for it, a line for each of its cells."""
    console = Console()
    anything = console.options.update(width=_WIDE)
    if console.measure(table, options=anything).minimum <= console.width:
        console.print(table)
        return
    console.print(table.title or "", style="italic", soft_wrap=True)
    for cells in zip(*(column.cells for column in table.columns), strict=True):
        for column, cell in zip(table.columns, cells, strict=True):
            if cell:
                console.print(f"{column.header}:", cell, soft_wrap=True)
        console.print()
    console.print(table.caption or "", style="dim", soft_wrap=True)


def clock(seconds: float) -> str:
    """Hours, minutes and seconds."""
    return str(timedelta(seconds=round(seconds)))


def quiet_libraries() -> None:
    """Silence the libraries' own bars and notes, which would come between ours."""
    # They read the environment when they are loaded: by this process later, if at all, or by one that it starts.
    os.environ |= {"TRANSFORMERS_VERBOSITY": "error", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    os.environ["HF_DATASETS_DISABLE_PROGRESS_BARS"] = "1"
    if "datasets" in sys.modules:
        sys.modules["datasets"].disable_progress_bars()
    if "transformers" in sys.modules:
        from transformers.utils import logging as transformers_logging

        # transformers leaves this function unannotated.
        transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        transformers_logging.set_verbosity(logging.ERROR)


class _Rate(ProgressColumn):
    """Units per second."""

    def render(self, task: Task) -> Text:
        """The rate so far; empty at the start."""
        return Text(f"{task.speed:,.0f} {task.fields['unit']}/s" if task.speed else "", style="cyan")


class TaskBar:
    """One bar; a `muki_pipeline.progress.Task`."""

    def __init__(self, bars: Progress, name: str, total: int, unit: str) -> None:
        self.bars, self.task = bars, bars.add_task(name, total=total, unit=unit, note="")
        self.work = f"{name}: {total:,} {unit}"

    def advance(self, amount: int, note: str = "") -> None:
        """Move the bar."""
        self.bars.update(self.task, advance=amount, note=note)

    def expect(self, seconds: float) -> None:
        """Announce long work by a line, for logs."""
        if seconds > WORTH_SAYING:
            say(f"{self.work} will take about {clock(seconds)}")


class Bars:
    """Progress bars; a `muki_pipeline.progress.Progress`."""

    def __init__(self, bars: Progress) -> None:
        self.bars = bars

    def begin(self, name: str, total: int, unit: str) -> TaskBar:
        """A new bar; finished ones disappear. Trainings are announced by a line too, for logs."""
        if unit == "steps":
            say(f"{name}: {total:,} steps")
        for task in self.bars.tasks:
            if task.finished:
                self.bars.update(task.id, visible=False)
        return TaskBar(self.bars, name, total, unit)


@contextmanager
def progress() -> Iterator[Bars]:
    """Progress bars on stderr, off without a terminal and with --quiet."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=STDERR, disable=_quiet or not STDERR.is_terminal) as bars:
        yield Bars(bars)
