"""A chart as the page shows it: what it finds, its drawing, and the table behind it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

MOST_ROWS = 500
"""Rows of a table that are written into the page: it must stay small with any number of labels."""


@dataclass(frozen=True)
class Table:
    """A table of texts.

    Attributes:
        headings: Of its columns.
        rows: Its cells.
        best: The row that stands out; -1 for none.
    """

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    best: int = -1

    @property
    def shown(self) -> Sequence[Sequence[str]]:
        """The rows that are in the page."""
        return self.rows[:MOST_ROWS]

    @property
    def left_out(self) -> int:
        """How many rows are not in the page."""
        return len(self.rows) - len(self.shown)


@dataclass(frozen=True)
class Chart:
    """A chart.

    Attributes:
        finding: What it shows, as a sentence: its title.
        drawing: An SVG element.
        table: The numbers that are drawn.
        note: How to read it.
        legend: The style of each series, and its name.
        is_wide: Whether it needs more than one column.
    """

    finding: str
    drawing: Markup
    table: Table
    note: str = ""
    legend: Sequence[tuple[str, str]] = field(default_factory=tuple)
    is_wide: bool = False


def share(value: float, digits: int = 1) -> str:
    """A share in per cent: 0.25 as "25.0 %"."""
    return f"{100 * value:.{digits}f}\N{NO-BREAK SPACE}%"


def amount(count: float, thing: str) -> str:
    """A count with its noun: "1 text", "1,200 texts"."""
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"
