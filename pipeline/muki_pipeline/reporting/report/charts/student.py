"""The student: its accuracy beside its teachers', its calibration and its training."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl
from markupsafe import Markup

from muki_pipeline.reporting import results
from muki_pipeline.reporting.report.charts.chart import Chart, Table, amount
from muki_pipeline.reporting.report.charts.svg import (
    WIDTH,
    Plane,
    drawing,
    element,
    room_for,
    short_number,
    shorten,
    ticks,
)
from muki_pipeline.routing.answers import wilson_interval

_MOST_TEACHERS = 8
_AMONG_OWN = "student_own_block_accuracy_on_these"


@dataclass(frozen=True)
class _Line:
    """Test texts, and who is right on how many.

    Attributes:
        name: The teacher that knows their labels, or that they are all.
        right: The student's share, among all labels.
        rows: How many texts.
        among_own: Its share among the teacher's labels.
        teacher: The teacher's share.
    """

    name: str
    right: float
    rows: int
    among_own: float | None = None
    teacher: float | None = None


def accuracy_chart(measured: Mapping[str, Any]) -> Chart | None:
    """The student and each teacher on the test texts of that teacher's labels; None where no test set was measured."""
    student = measured.get("student")
    if student is None:
        return None
    blocks = {name: block for name, block in measured.get("teachers", {}).items() if _AMONG_OWN in block}
    gaps = {name: block[_AMONG_OWN] - block["own_block_accuracy"] for name, block in blocks.items()}
    behind = sorted(blocks, key=lambda name: gaps[name])
    lines = [_Line("all labels", student["accuracy"], student["rows"])]
    for name in behind[:_MOST_TEACHERS]:
        block = blocks[name]
        among_all, among_own = block["student_accuracy_on_these"], block[_AMONG_OWN]
        lines.append(_Line(name, among_all, block["rows"], among_own, block["own_block_accuracy"]))
    finding = "The student beside its teachers"
    if behind:
        finding = "Among the same labels, the student is behind none of its teachers"
    if behind and gaps[behind[0]] < 0:
        points = f"{-100 * gaps[behind[0]]:.1f} points"
        finding = f"Among the same labels, the student is up to {points} behind its teachers, most behind {behind[0]}"
    note = "A teacher chooses among its own labels, the student among all, which is harder. Bars: 95 % intervals."
    legend = [("dot s0", "student"), ("dot s2", "student, among the teacher's labels"), ("dot wrong", "teacher")]
    if len(behind) > _MOST_TEACHERS:
        note += f" The {_MOST_TEACHERS} teachers that the student is farthest behind; all are in the table."
    table = Table(*results.by_teacher(measured))
    return Chart(finding, _dumbbells(lines), table, note, legend if behind else legend[:1])


def _dumbbells(lines: list[_Line]) -> Markup:
    """A line for each set of test texts: the student with its interval, the teacher beside it."""
    intervals = [wilson_interval(round(line.right * line.rows), line.rows) for line in lines]
    lowest = min(*(low for low, _ in intervals), *(line.teacher for line in lines if line.teacher is not None), 1.0)
    names = [shorten(line.name, 14) for line in lines]
    left, step = room_for([*names, "all labels"]), 26.0
    low, bottom = max(0.0, int(lowest * 20 - 0.5) / 20), 8 + step * len(lines)

    def at(share: float) -> float:
        return left + (share - low) / (1 - low) * (WIDTH - left - 18)

    parts: list[Markup] = []
    for value in ticks(low, 1.0, 4):
        parts.append(element("line", x1=at(value), x2=at(value), y1=2, y2=bottom, class_="grid"))
        parts.append(element("text", short_number(round(value, 4)), x=at(value), y=bottom + 15, class_="tick middle"))
    for number, (line, (worst, best)) in enumerate(zip(lines, intervals, strict=True)):
        name, teacher, right = line.name, line.teacher, line.right
        y = 8 + step * (number + 0.5)
        style = "tick end" if number else "tick end strong"
        told = f"{name}: the student {right:.3f} of {amount(line.rows, 'text')}"
        parts.append(element("text", element("title", name), names[number], x=left - 8, y=y + 4, class_=style))
        parts.append(element("line", x1=at(worst), x2=at(best), y1=y, y2=y, class_="interval"))
        if teacher is not None:
            parts.append(
                element("rect", element("title", f"{name}: {teacher:.3f}"), x=at(teacher) - 5, y=y - 5, width=10,
                        height=10, class_="wrong", transform=f"rotate(45 {at(teacher):.1f} {y:.1f})")
            )  # fmt: skip
        if line.among_own is not None:
            same = f"{name}: the student {line.among_own:.3f} among the teacher's labels"
            parts.append(element("circle", element("title", same), cx=at(line.among_own), cy=y, r=4, class_="s2"))
        parts.append(element("circle", element("title", told), cx=at(right), cy=y, r=5.5, class_="s0"))
    parts.append(element("text", "share right", x=(left + WIDTH) / 2, y=bottom + 33, class_="title middle"))
    return drawing("Accuracy of the student and of its teachers", bottom + 40, *parts)


def calibration_chart(reliability: pl.DataFrame) -> Chart:
    """Accuracy against confidence; on the diagonal the student is as accurate as it is confident.

    Args:
        reliability: `confidence`, `accuracy`, `rows` of each bin.
    """
    rows = reliability["rows"]
    texts = int(rows.sum())
    sure, right = (float((reliability[name] * rows).sum()) / texts for name in ("confidence", "accuracy"))
    gap = 100 * (sure - right)
    said = f"{gap:.1f} points too sure" if gap >= 1 else f"{-gap:.1f} points less sure than it is right"
    if abs(gap) < 1:
        said = "as sure as it is right"
    error = float(((reliability["confidence"] - reliability["accuracy"]).abs() * rows).sum()) / texts
    plane = Plane((0.0, 1.0), (0.0, 1.0), height=290)
    x, y = plane.at_x, plane.at_y
    parts = [element("line", x1=x(0), y1=y(0), x2=x(1), y2=y(1), class_="diagonal")]
    most = float(rows.to_numpy().max())
    table = []
    for confidence, accuracy, count in reliability.select("confidence", "accuracy", "rows").iter_rows():
        told = f"confidence {confidence:.3f}: {accuracy:.3f} right of {amount(count, 'text')}"
        parts.append(
            element("line", x1=x(confidence), x2=x(confidence), y1=y(confidence), y2=y(accuracy), class_="gap"),
        )
        size = 3 + 8 * (count / most) ** 0.5
        parts.append(element("circle", element("title", told), cx=x(confidence), cy=y(accuracy), r=size, class_="s0"))
        table.append([f"{confidence:.3f}", f"{accuracy:.3f}", f"{count:,}"])
    axes = plane.axes("the student's confidence", "share right")
    return Chart(
        f"On average the student is {said}; the calibration error is {error:.3f}",
        drawing("Share right by confidence", plane.height, axes, *parts),
        Table(["confidence", "share right", "test texts"], table),
        f"The student says {sure:.3f} on average and is right on {right:.3f}. Below the dotted line it promises too "
        "much. A larger dot stands for more texts.",
    )


def training_chart(curve: pl.DataFrame) -> Chart | None:
    """The student's loss; None where no step was recorded.

    Args:
        curve: `step`, `loss`, `validation_loss`; null where one was not taken.
    """
    names: list[str] = [name for name in ("loss", "validation_loss") if name in curve.columns]
    lines = {name: curve.drop_nulls(name) for name in names}
    lines = {name: line for name, line in lines.items() if len(line)}
    if not lines:
        return None
    highest = max(float(line[name].to_numpy().max()) for name, line in lines.items())
    last = max(int(line["step"].to_numpy().max()) for line in lines.values())
    first = min(int(line["step"].to_numpy().min()) for line in lines.values())
    plane = Plane((float(min(first, last - 1)), float(last)), (0.0, highest or 1.0))
    styles = {"loss": "s0", "validation_loss": "s1"}
    parts = []
    for name, line in lines.items():
        style = f"line {styles[name]}"
        parts.append(
            element("polyline", points=plane.points(line["step"].to_list(), line[name].to_list()), class_=style)
        )
        if len(line) == 1:
            at_x, at_y = plane.at_x(line["step"][0]), plane.at_y(line[name][0])
            parts.append(element("circle", cx=float(at_x), cy=float(at_y), r=4, class_=styles[name]))
    rows = [
        [f"{row['step']:,}", *("" if row.get(name) is None else f"{row[name]:.4f}" for name in styles)]
        for row in curve.iter_rows(named=True)
    ]
    return Chart(
        _trained(lines),
        drawing("The student's loss by step", plane.height, plane.axes("step", "nats"), *parts),
        Table(["step", "loss", "validation loss"], rows),
        legend=[(styles[name], name.replace("_", " ")) for name in lines],
    )


def _trained(lines: Mapping[str, pl.DataFrame]) -> str:
    name = "validation_loss" if "validation_loss" in lines else "loss"
    line = lines[name]
    what = name.replace("_", " ")
    if len(line) == 1:
        return f"The {what} is {line[name][0]:.3f} nats at step {line['step'][0]:,}"
    start, end = line[name][0], line[name][-1]
    told = f"The {what} went from {start:.3f} to {end:.3f} nats in {amount(int(line['step'][-1]), 'step')}"
    best = int(line[name].arg_min() or 0)
    is_risen = name == "validation_loss" and best < len(line) - 1
    return f"{told}; lowest at step {line['step'][best]:,}, {line[name][best]:.3f}" if is_risen else told
