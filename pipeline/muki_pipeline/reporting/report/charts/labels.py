"""The label map: which teachers know which labels, and labels whose names are nearly the same."""

import re
from collections.abc import Mapping, Sequence
from itertools import combinations

from muki_pipeline.reporting.report.charts.chart import Chart, Table, amount
from muki_pipeline.reporting.report.charts.svg import Bar, bars, one_line

_MOST_TEACHERS = 24


def label_chart(known: Mapping[str, Sequence[str]], teachers: Sequence[str]) -> Chart:
    """How many labels each teacher knows alone, and how many with others.

    Args:
        known: For each label of the union, the teachers that know it.
        teachers: Their names.
    """
    alone = {name: sum(list(who) == [name] for who in known.values()) for name in teachers}
    shared = {name: sum(name in who and len(who) > 1 for who in known.values()) for name in teachers}
    overlaps = [label for label, who in known.items() if len(who) > 1]
    finding = f"{amount(len(known), 'label')}; {_shared(overlaps)}"
    shown = [
        Bar(name, [(alone[name], "s0"), (shared[name], "s1")], f"{alone[name] + shared[name]:,}")
        for name in teachers[:_MOST_TEACHERS]
    ]
    rows = [[label, ", ".join(who)] for label, who in sorted(known.items(), key=lambda pair: -len(pair[1]))]
    return Chart(
        finding,
        bars("Labels of each teacher", shown, "labels", "{:,.0f}".format),
        Table(["label", "teachers that know it"], rows),
        "The table names the teachers of every label; shared ones come first.",
        [("s0", "known to it alone"), ("s1", "known to others too")] if overlaps else [],
    )


def _shared(overlaps: Sequence[str]) -> str:
    if not overlaps:
        return "no label is known to more than one teacher"
    named = ", ".join(one_line(label) for label in overlaps[:3])
    verb = "is" if len(overlaps) == 1 else "are"
    return f"{len(overlaps)} {verb} known to more than one teacher: {named}{' …' if len(overlaps) > 3 else ''}"


def near_names(labels: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of labels whose names differ only in case, blanks, punctuation or a plural ending, in order."""
    numbers: dict[str, list[int]] = {}
    for number, label in enumerate(labels):
        for form in _forms(label):
            numbers.setdefault(form, []).append(number)
    pairs = {pair for alike in numbers.values() for pair in combinations(alike, 2)}
    return [(labels[one], labels[other]) for one, other in sorted(pairs)]


def _forms(label: str) -> set[str]:
    """A name without what people write in several ways, and what its singular may be."""
    bare = re.sub(r"[\W_]+", "", label.casefold()) or label
    endings = {"s": "", "es": "", "ies": "y"}
    return {
        bare,
        *(bare.removesuffix(end) + put for end, put in endings.items() if bare.endswith(end) and len(bare) > 3),
    }
