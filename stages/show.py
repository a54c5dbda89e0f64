"""Progress and tables on the terminal, by rich."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

if TYPE_CHECKING:
    from pipeline.training import Step

STDERR = Console(stderr=True)


def say(line: str) -> None:
    """One line of outcome on stderr, whatever the width of the terminal."""
    STDERR.print(line, soft_wrap=True, highlight=False, markup=False)


def quiet_libraries() -> None:
    """Silence the libraries' own bars and notes, which would stand between ours."""
    import datasets
    from transformers.utils import logging as transformers_logging

    datasets.disable_progress_bars()
    # transformers leaves this function unannotated.
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    transformers_logging.set_verbosity(logging.ERROR)


class _Rate(ProgressColumn):
    """Units a second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> Text:
        """The rate so far, or nothing before there is one."""
        return Text(f"{task.speed:,.0f} {self.unit}/s" if task.speed else "", style="cyan")


def _bars(unit: str) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(unit),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    return Progress(*columns, console=STDERR, disable=not STDERR.is_terminal)


@contextmanager
def progress(unit: str) -> Iterator[Callable[[str, int], Callable[[int], None]]]:
    """A progress bar on stderr, off without a terminal. Yields what begins a task and returns what advances it."""
    with _bars(unit) as bars:

        def begin(description: str, total: int) -> Callable[[int], None]:
            task = bars.add_task(description, total=total, note="")
            return lambda amount: bars.advance(task, amount)

        yield begin


@contextmanager
def training(description: str) -> Iterator[Callable[["Step"], None]]:
    """A progress bar of training steps with loss and learning rate. Yields what is told of every step."""
    with _bars("steps") as bars:
        task = bars.add_task(description, total=None, note="")

        def watch(step: "Step") -> None:
            note = "" if step.loss is None else f"loss {step.loss:.4f}, learning rate {step.learning_rate or 0:.1e}"
            bars.update(task, completed=step.number, total=step.of, note=note)

        yield watch
