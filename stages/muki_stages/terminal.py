"""What people see on the terminal: lines, tables, progress bars, and text that cannot do anything but be shown.

Where there is a terminal, nothing is wider than it, and what does not fit is folded, never cut. Where there is none,
each line stays one line, whatever its length, and holds no control codes.
"""

import logging
import os
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Column, Table
from rich.text import Text

STDERR = Console(stderr=True)
WORTH_SAYING = 60
"""Seconds of work from which the expected time is announced."""
LEVELS = {"ok": "green", "warning": "yellow", "error": "red"}
"""What a colour means, everywhere."""
FIRST = "bold"
"""The figure to read first."""
_ASIDE = "dim"
_WIDE = 10_000
_NARROW = 24
"""Columns below which sentences are no joy to read."""
_ROOM_FOR_BARS = 80
"""Columns below which progress is shown in figures alone."""
_BETWEEN = 3
"""Columns between two columns of a table."""
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


_quiet = _as_json = False


def configure(*, quiet: bool, verbose: bool, as_json: bool) -> None:
    """Choose what is shown: `quiet` hides outcomes, `verbose` adds the library's log, `as_json` hides tables."""
    global _quiet, _as_json
    _quiet, _as_json = quiet, as_json
    shown = logging.StreamHandler()
    shown.setFormatter(_LogLine("%(name)s: %(message)s"))
    logger = logging.getLogger("muki_pipeline")
    logger.handlers = [shown]
    logger.setLevel(logging.INFO if verbose else logging.WARNING)


class _LogLine(logging.Formatter):
    """A warning looks like those of the commands; what is shown with --verbose says where it comes from."""

    def format(self, record: logging.LogRecord) -> str:
        return f"warning: {record.getMessage()}" if record.levelno >= logging.WARNING else super().format(record)


def wants_json() -> bool:
    """Whether the result is printed as JSON, so that tables are left out."""
    return _as_json


def is_heard() -> bool:
    """Whether outcomes are shown: not with --quiet."""
    return not _quiet


def say(line: str | Text) -> None:
    """One line of outcome on stderr; nothing with --quiet."""
    if not _quiet:
        _tell(line if isinstance(line, Text) else Text(line))


def warn(line: str) -> None:
    """One line on stderr that is shown even with --quiet, after the word warning."""
    _tell(Text.assemble(("warning", LEVELS["warning"]), f": {line}"))


def fail(line: str) -> None:
    """One line on stderr after the word error."""
    _tell(Text.assemble(("error", LEVELS["error"]), f": {line}"))


def _tell(line: Text) -> None:
    STDERR.print(line, soft_wrap=not STDERR.is_terminal)


def plain(text: str) -> Text:
    """A text from outside, for a table or a console: no markup, and control characters made visible."""
    return Text(_CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text))


def figure(value: float | None, digits: int = 3) -> str:
    """A figure in a table; empty where there is none."""
    return "" if value is None else f"{value:.{digits}f}"


def _console(*, stderr: bool = False) -> Console:
    """A console as wide as its terminal; where there is none, wide enough for any line."""
    found = Console(stderr=stderr, highlight=False)
    return found if found.is_terminal else Console(stderr=stderr, highlight=False, width=_WIDE)


def show(
    title: str,
    headings: Sequence[str],
    rows: Iterable[Sequence[str | Text]],
    *,
    words: Collection[str] = (),
    note: str = "",
) -> None:
    """A table on stdout; where the terminal is too narrow for it, a line for each of its cells.

    Args:
        title: What it shows.
        headings: Of its columns. The first column holds names, the others hold figures, which end at the same place.
        rows: Cells; a row may lack the last ones.
        words: Headings of columns that hold words instead.
        note: A line below it.
    """
    cells = [[each if isinstance(each, Text) else plain(each) for each in row] for row in rows]
    kinds = ["words" if heading in words else "figures" for heading in headings]
    kinds[0] = "names"
    console = _console()
    console.print(Text(title))
    console.print(_table(headings, kinds, cells, console.width) or _stacked(headings, kinds, cells))
    if note:
        console.print(Text(note, _ASIDE))
    console.print()


def _table(headings: Sequence[str], kinds: Sequence[str], rows: Sequence[Sequence[Text]], width: int) -> Table | None:
    """A table in which no figure is folded; None where the terminal is too narrow for that."""
    widest, least = [], []
    for number, (heading, kind) in enumerate(zip(headings, kinds, strict=True)):
        cell = max((row[number].cell_len for row in rows if number < len(row)), default=0)
        widest.append(max(cell, cell_len(heading)))
        least.append(max(cell, *map(cell_len, heading.split())) if kind == "figures" else min(widest[-1], _NARROW))
    widths = _widths(widest, least, width - _BETWEEN * (len(headings) - 1))
    if widths is None:
        return None
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style=_ASIDE)
    for heading, kind, wide in zip(headings, kinds, widths, strict=True):
        table.add_column(heading, justify="right" if kind == "figures" else "left", overflow="fold", width=wide)
    for row in rows:
        table.add_row(*row)
    return table


def _widths(widest: Sequence[int], least: Sequence[int], room: int) -> list[int] | None:
    """What each column gets of the room: the widest ones give up first. Rich itself would fold figures.

    Args:
        widest: What each could use.
        least: What each needs, at most as much.
        room: For all of them.
    """
    for most in range(max(widest), -1, -1):
        widths = [max(low, min(most, high)) for low, high in zip(least, widest, strict=True)]
        if sum(widths) <= room:
            return widths
    return None


def _stacked(headings: Sequence[str], kinds: Sequence[str], rows: Iterable[Sequence[Text]]) -> Table:
    """A heading and a cell in each line, a blank line after each row."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style=_ASIDE, overflow="fold")
    table.add_column(justify="right", overflow="fold")
    for number, row in enumerate(rows):
        if number:
            table.add_row()
        for heading, kind, cell in zip(headings, kinds, row, strict=False):
            if cell:
                cell.justify = "left" if kind == "words" and cell.cell_len > _NARROW else "right"
                table.add_row(heading, cell)
    return table


def tell(line: Text) -> None:
    """A line on stdout."""
    _console().print(line)


def steps(commands: Mapping[str, str], *, stderr: bool = False) -> None:
    """Commands or files, and what each is for."""
    console = _console(stderr=stderr)
    widest = max(map(len, commands))
    for command, what in commands.items():
        if console.width - widest - 4 >= _NARROW:
            table = Table.grid(padding=(0, 2, 0, 0))
            table.add_column(width=widest)
            table.add_row(command, what)
            console.print(Padding.indent(table, 2))
        else:
            console.print(Padding.indent(Text(command), 2))
            console.print(Padding.indent(Text(what, _ASIDE), 4))


def finding(level: str, line: str) -> None:
    """Something that was tried, on stderr: how bad it is, and what was found. With --quiet nothing of what is in order.

    Args:
        level: A key of `LEVELS`.
        line: What was found.
    """
    if _quiet and level == "ok":
        return
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(justify="right", width=max(map(len, LEVELS)), style=LEVELS[level])
    table.add_column(overflow="fold")
    table.add_row(level, plain(line))
    _console(stderr=True).print(table)


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
    whole = Column(no_wrap=True)
    name = TextColumn("{task.description}", table_column=Column(overflow="ellipsis"))  # it gives up room first
    count, left = MofNCompleteColumn(table_column=whole), TimeRemainingColumn(table_column=whole)
    columns: tuple[ProgressColumn, ...] = (name, BarColumn(), count, _Rate(), left, TextColumn("{task.fields[note]}"))
    if STDERR.width < _ROOM_FOR_BARS:  # rich would cut the figures
        columns = (name, count, left)
    with Progress(*columns, console=STDERR, disable=_quiet or not STDERR.is_terminal) as bars:
        yield Bars(bars)
