"""What charts are drawn with: SVG elements, scales and axes.

Colours are classes of the page's style sheet, so that a drawing can be read in light and dark mode and on paper. Every
text goes through markupsafe, so that no name of a label is ever read as SVG.
"""

import math
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

WIDTH = 440
"""Of a drawing, in its own units: about its pixels in a column of the page."""
_LETTER = 6.6
"""Width of a usual letter of a tick."""
SERIES = 8
"""Colours that tell series apart; further ones share the last."""


def element(name: str, *children: object, **attributes: object) -> Markup:
    """An SVG element; a trailing underscore of an attribute's name is dropped, others become hyphens."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_tidy(value))}"' for key, value in attributes.items()
    )
    inner = "".join(escape(child) for child in children)
    return Markup(f"<{name}{written}>{inner}</{name}>" if inner else f"<{name}{written}/>")  # each part is escaped


def _tidy(value: object) -> object:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else value


def series(number: int) -> str:
    """The class of a series's colour."""
    return f"s{min(number, SERIES - 1)}"


def one_line(name: str) -> str:
    """A name without line breaks or other blanks in a row."""
    return " ".join(name.split()) or "(blank)"


def shorten(name: str, most: int) -> str:
    """A name in one line, cut to so many usual letters; a full-width one counts as two."""
    kept, room = "", most
    whole = one_line(name)
    for letter in whole:
        room -= _letters(letter)
        if room < 0:
            return f"{kept[:-1].rstrip()}…"
        kept += letter
    return whole


def _letters(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def room_for(names: Iterable[str]) -> float:
    """Width that names need at the left of a drawing."""
    return max((_letters(name) for name in names), default=0) * _LETTER + 12


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers within a range, about as many as asked for."""
    if not high > low:
        return [low]
    rough = (high - low) / count
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * unit for factor in (1, 2, 2.5, 5, 10) if factor * unit >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(number * step, 12) for number in range(first, math.floor(high / step + 1e-9) + 1)]


def short_number(value: float) -> str:
    """A tick: 1,200 as "1,200", 2,500,000 as "2.5M", 0.25 as "0.25"."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e3 if unit == 'k' else size):g}{unit}"
    return f"{value:,.0f}" if value == int(value) else f"{value:g}"


def percent(value: float) -> str:
    """A share as a tick."""
    return f"{100 * value:g} %"


def drawing(label: str, height: float, *children: object, width: float = WIDTH) -> Markup:
    """The whole drawing; a reader of the screen hears its label, and finds the numbers in the table behind it."""
    box = f"0 0 {width:g} {height:g}"
    return element("svg", *children, viewBox=box, role="img", aria_label=label, class_="chart")


@dataclass(frozen=True)
class Plane:
    """A rectangle with two number axes.

    Attributes:
        x: Lowest and highest number from left to right.
        y: Lowest and highest number from bottom to top.
        height: Of the whole drawing, axes included.
        left: Room for the numbers of the y axis.
    """

    x: tuple[float, float]
    y: tuple[float, float]
    height: float = 250
    left: float = 58

    @property
    def right(self) -> float:
        """Where the rectangle ends."""
        return WIDTH - 14.0

    @property
    def bottom(self) -> float:
        """Where it ends below."""
        return self.height - 44.0

    def at_x(self, value: float) -> float:
        """Place of a number of the x axis."""
        low, high = self.x
        return self.left + (value - low) / ((high - low) or 1) * (self.right - self.left)

    def at_y(self, value: float) -> float:
        """Place of a number of the y axis."""
        low, high = self.y
        return self.bottom - (value - low) / ((high - low) or 1) * (self.bottom - 12.0)

    def points(self, xs: Sequence[float], ys: Sequence[float]) -> str:
        """Points of a line."""
        return " ".join(f"{self.at_x(x):.1f},{self.at_y(y):.1f}" for x, y in zip(xs, ys, strict=True))

    def axes(
        self,
        x_title: str,
        y_title: str,
        y_form: Callable[[float], str] = short_number,
    ) -> Markup:
        """Both axes with titles, round numbers and lines across."""
        parts: list[Markup] = []
        for value in ticks(*self.y, count=4):
            y = self.at_y(value)
            parts.append(element("line", x1=self.left, x2=self.right, y1=y, y2=y, class_="grid"))
            parts.append(element("text", y_form(value), x=self.left - 6, y=y + 4, class_="tick end"))
        for value in ticks(*self.x):
            x = self.at_x(value)
            parts.append(element("text", short_number(value), x=x, y=self.bottom + 17, class_="tick middle"))
        middle = (self.left + self.right) / 2
        parts.append(
            element("line", x1=self.left, x2=self.right, y1=self.bottom, y2=self.bottom, class_="axis"),
        )
        parts.append(element("text", x_title, x=middle, y=self.height - 7, class_="title middle"))
        turned = f"translate(13 {(self.bottom + 12) / 2:.1f}) rotate(-90)"
        parts.append(element("text", y_title, transform=turned, class_="title middle"))
        return Markup("").join(parts)


@dataclass(frozen=True)
class Bar:
    """A bar of a bar chart.

    Attributes:
        name: Written at its left.
        parts: Length of each part, and the class of its colour.
        note: Written at its end.
    """

    name: str
    parts: Sequence[tuple[float, str]]
    note: str = ""


def bars(
    label: str, shown: Sequence[Bar], x_title: str, form: Callable[[float], str] = short_number, most: int = 20
) -> Markup:
    """Bars from left to right, one below the other, each of one or more parts; `most` letters of a name are written."""
    names = [shorten(bar.name, most) for bar in shown]
    left, step = room_for(names), 22.0
    room = room_for(bar.note for bar in shown) if any(bar.note for bar in shown) else 14.0
    longest = max((sum(length for length, _ in bar.parts) for bar in shown), default=0.0) or 1.0
    scale = (WIDTH - left - room) / longest
    bottom = 6 + step * len(shown)
    parts: list[Markup] = []
    for value in ticks(0.0, longest, 4):
        x = left + value * scale
        parts.append(element("line", x1=x, x2=x, y1=2, y2=bottom, class_="grid"))
        parts.append(element("text", form(value), x=x, y=bottom + 15, class_="tick middle"))
    for number, (bar, name) in enumerate(zip(shown, names, strict=True)):
        y, x = 6 + step * number, left
        parts.append(element("text", element("title", bar.name), name, x=left - 6, y=y + 13, class_="tick end"))
        for length, style in bar.parts:
            parts.append(element("rect", x=x, y=y, width=length * scale, height=step - 6, class_=style))
            x += length * scale
        parts.append(element("text", bar.note, x=x + 5, y=y + 13, class_="tick"))
    parts.append(element("line", x1=left, x2=left, y1=2, y2=bottom, class_="axis"))
    parts.append(element("text", x_title, x=(left + WIDTH - room) / 2, y=bottom + 34, class_="title middle"))
    return drawing(label, bottom + 42, *parts)
