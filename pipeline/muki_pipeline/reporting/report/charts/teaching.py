"""Who teaches what: texts that flow from teachers to labels, and whether those teachers know the texts' true labels."""

from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from muki_pipeline.reporting.report.charts.chart import Chart, Table, amount, share
from muki_pipeline.reporting.report.charts.svg import (
    Bar,
    bars,
    drawing,
    element,
    one_line,
    percent,
    room_for,
    series,
    shorten,
)

Ints = NDArray[np.int64]
SHOWN = 24
"""Labels that are drawn one by one; the others are one together."""
_WIDTH = 560.0
_SLOT, _GAP, _BAR = 19.0, 5.0, 12.0


def flow_chart(teachers: Sequence[str], labels: Sequence[str], counts: Ints) -> Chart:
    """Texts from each teacher to each label that they are taught as.

    Args:
        teachers: Their names.
        labels: The union.
        counts: `[labels, teachers]`, texts.
    """
    main = counts.argmax(axis=1)
    order = sorted(range(len(labels)), key=lambda row: (int(main[row]), -int(counts[row].sum())))
    rows = [[labels[row], *(f"{count:,}" for count in counts[row]), f"{counts[row].sum():,}"] for row in order]
    table = Table(["label", *teachers, "texts"], rows)
    names, drawn = _largest(labels, counts, order)
    legend = [(series(number), name) for number, name in enumerate(teachers)] if len(teachers) > 1 else []
    return Chart(
        _finding(teachers, labels, counts),
        _flow(teachers, names, drawn),
        table,
        "Left: the teacher with the best score. Right: the label that the student is taught. Widths are texts.",
        legend,
        is_wide=True,
    )


def _finding(teachers: Sequence[str], labels: Sequence[str], counts: Ints) -> str:
    texts, of_label = counts.sum(), counts.sum(axis=1)
    most = int(of_label.argmax())
    largest = f"{one_line(labels[most])} is taught most, from {amount(int(of_label[most]), 'text')}"
    silent = int((of_label == 0).sum())
    never = f"; {amount(silent, 'label')} from none" if silent else ""
    if len(teachers) == 1:
        return f"{teachers[0]} teaches all {amount(int(texts), 'text')}; {largest}{never}"
    by_teacher = counts.sum(axis=0)
    first = int(by_teacher.argmax())
    return f"{teachers[first]} teaches {share(by_teacher[first] / max(texts, 1))} of the texts; {largest}{never}"


def _largest(labels: Sequence[str], counts: Ints, order: Sequence[int]) -> tuple[list[str], Ints]:
    """Names and counts to draw, of labels that are taught: with many, the largest, and the others as one."""
    order = [row for row in order if counts[row].any()]
    if len(order) <= SHOWN + 1:
        return [labels[row] for row in order], counts[order]
    large = set(np.argsort(-counts.sum(axis=1), kind="stable")[:SHOWN].tolist())
    kept = [row for row in order if row in large]
    others = counts.sum(axis=0) - counts[kept].sum(axis=0)
    return [*(labels[row] for row in kept), f"{len(order) - SHOWN} others"], np.vstack([counts[kept], others])


def _flow(teachers: Sequence[str], names: Sequence[str], counts: Ints) -> Markup:
    """Bands from bars at the left to bars at the right, each as thick as its texts are many."""
    total = max(int(counts.sum()), 1)
    height = max(len(names) * _SLOT, 180.0)
    # The bars at the right share what their gaps leave; a label always has room for its name.
    thickness = (height - _GAP * len(names)) / total * 0.62
    of_label = counts.sum(axis=1) * thickness
    slots = np.maximum(of_label + _GAP, _SLOT - 3)
    height = float(slots.sum()) + 4
    of_teacher = counts.sum(axis=0) * thickness
    space = (height - of_teacher.sum()) / max(len(teachers), 1)
    starts = np.cumsum([0.0, *(of_teacher + space)])[:-1] + space / 2
    left = min(1.25 * room_for(shorten(name, 14) for name in teachers), 150.0)
    told = [f"{shorten(name, 24)} {int(row.sum()):,}" for name, row in zip(names, counts, strict=True)]
    right = _WIDTH - min(1.25 * room_for(told), 260.0)  # a phone's letters are larger
    parts: list[Markup] = []
    reached, top = starts.copy(), 2.0
    for number, (name, row, slot, thick) in enumerate(zip(names, counts, slots, of_label, strict=True)):
        y = top + (slot - thick) / 2
        at = y
        for teacher, count in enumerate(row):
            if count:
                band = float(count * thickness)
                what = f"{teachers[teacher]} → {one_line(name)}: {amount(int(count), 'text')}"
                parts.append(_band((left + _BAR, float(reached[teacher])), (right, at), band, teacher, what))
                reached[teacher] += band
                at += band
        parts.append(element("rect", x=right, y=float(y), width=_BAR, height=float(max(thick, 1.0)), class_="ink"))
        middle = float(top + slot / 2 + 4)
        parts.append(element("text", element("title", name), told[number], x=right + _BAR + 6, y=middle, class_="tick"))
        top += slot
    for number, (name, start) in enumerate(zip(teachers, starts, strict=True)):
        long = float(max(of_teacher[number], 1.0))
        parts.append(element("rect", x=left, y=float(start), width=_BAR, height=long, class_=series(number)))
        place = float(start + long / 2 + 4)
        parts.append(element("text", shorten(name, 14), x=left - 6, y=place, class_="tick end strong"))
    return drawing("Texts from teachers to labels", height + 4, *parts, width=_WIDTH)


def _band(start: tuple[float, float], end: tuple[float, float], thick: float, teacher: int, what: str) -> Markup:
    (x, y), (to_x, to_y) = start, end
    half = (x + to_x) / 2
    path = (
        f"M{x:.1f} {y:.1f}C{half:.1f} {y:.1f} {half:.1f} {to_y:.1f} {to_x:.1f} {to_y:.1f}v{thick:.2f}"
        f"C{half:.1f} {to_y + thick:.1f} {half:.1f} {y + thick:.1f} {x:.1f} {y + thick:.1f}z"
    )
    return element("path", element("title", what), d=path, class_=f"band {series(teacher)}")


def gold_chart(teachers: Sequence[str], by_gold: Mapping[str, Ints], known: Mapping[str, Sequence[bool]]) -> Chart:
    """For each true label, who has the best score for its texts: a teacher that knows it, or another.

    Args:
        teachers: Their names.
        by_gold: For each true label `[teachers]`, texts.
        known: For each label of the union, whether each teacher knows it.
    """
    right = {
        name: int(sum(count for count, knows in zip(counts, known.get(name, ()), strict=False) if knows))
        for name, counts in by_gold.items()
    }
    texts = {name: int(counts.sum()) for name, counts in by_gold.items()}
    order = sorted(by_gold, key=lambda name: (right[name] / max(texts[name], 1), name))
    shown = [
        Bar(name, [(right[name] / texts[name], "right"), (1 - right[name] / texts[name], "wrong")],
            f"{right[name]:,} of {texts[name]:,}")
        for name in order[:SHOWN]
    ]  # fmt: skip
    rows = [[name, *(f"{count:,}" for count in by_gold[name]), f"{right[name]:,} of {texts[name]:,}"] for name in order]
    everything = sum(texts.values())
    worst = order[0]
    least = "" if right[worst] == texts[worst] else f"; least for {one_line(worst)}"
    more = f"The {SHOWN} labels with the smallest share; all are in the table." if len(order) > SHOWN else ""
    return Chart(
        f"A teacher that knows the true label teaches {sum(right.values()):,} of {everything:,} texts{least}",
        bars(
            "Texts taught by a teacher that knows their true label",
            shown,
            "share of a true label's texts",
            percent,
        ),
        Table(["true label", *teachers, "by one that knows it"], rows),
        more,
        [("right", "a teacher that knows the label"), ("wrong", "another")],
    )
