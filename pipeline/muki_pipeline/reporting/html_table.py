"""A table of the report."""

from collections.abc import Sequence
from html import escape


def html_table(headings: Sequence[str], rows: Sequence[Sequence[str]], best: int = -1) -> str:
    """A table with headings; `best` is the number of the row that stands out."""
    head = "".join(f"<th>{escape(each)}</th>" for each in headings)
    lines = "".join(
        f"<tr{' class=best' if number == best else ''}>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>"
        for number, row in enumerate(rows)
    )
    return f'<div class="wide"><table><tr>{head}</tr>{lines}</table></div>'
