"""How uncertain right and wrong teachers are (MUKI, Figure 2): a chart for each scorer."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from markupsafe import Markup

from muki_pipeline.reporting.report.charts.chart import Chart, Table, share
from muki_pipeline.reporting.report.charts.svg import Plane, drawing, element, percent
from muki_pipeline.routing.scorers import SCORERS

PAPERS = "mc_entropy"
"""The scorer of the paper."""


def uncertainty_charts(uncertainty: pl.DataFrame, corpus: Mapping[str, Any], chosen: str) -> list[Chart]:
    """The chosen scorer's chart, the paper's, then the others.

    Args:
        uncertainty: `scorer`, `teacher` (right or wrong), `uncertainty` (bin centre), `share`.
        corpus: The block `corpus` of data/metrics.json.
        chosen: The project's scorer.
    """
    names = uncertainty["scorer"].unique(maintain_order=True).to_list()
    first = [name for name in dict.fromkeys([chosen, PAPERS]) if name in names]
    ordered = [*first, *(name for name in names if name not in first)]
    return [
        _chart(name, uncertainty.filter(pl.col("scorer") == name), corpus.get(name, {}), _role(name, chosen))
        for name in ordered
    ]


def _role(name: str, chosen: str) -> str:
    return "the chosen rule" if name == chosen else "the paper's rule" if name == PAPERS else ""


def _chart(name: str, panel: pl.DataFrame, measured: Mapping[str, Any], role: str) -> Chart:
    title = SCORERS[name].title if name in SCORERS else name
    right, wrong = (panel.filter(pl.col("teacher") == teacher) for teacher in ("right", "wrong"))
    centres = right["uncertainty"].to_list()
    width = centres[1] - centres[0] if len(centres) > 1 else 1.0
    edges = (centres[0] - width / 2, centres[-1] + width / 2)
    highest = max(float(panel["share"].to_numpy().max()), 1e-9)
    plane = Plane(edges, (0.0, highest))
    label = f"{title}: shares of right and of wrong teachers by uncertainty"
    shapes = (_steps(plane, centres, width, part["share"].to_list(), style)
              for part, style in ((wrong, "wrong"), (right, "right")))  # fmt: skip
    drawn = drawing(
        label, plane.height, plane.axes("uncertainty, 1 - score", "share of pairs", y_form=percent), *shapes
    )
    rows = [
        [f"{centre:.3f}", share(one), share(other)]
        for centre, one, other in zip(centres, right["share"], wrong["share"], strict=True)
    ]
    return Chart(
        f"{title[:1].upper()}{title[1:]}{f', {role}' if role else ''}: {_finding(measured)}",
        drawn,
        Table(["uncertainty", "right teachers", "wrong teachers"], rows),
        legend=[("right", "right teachers"), ("wrong", "wrong teachers")],
    )


def _finding(measured: Mapping[str, Any]) -> str:
    told = []
    if (auroc := measured.get("right_teacher_auroc")) is not None:
        told.append(f"a right teacher is surer than a wrong one in {share(auroc)} of pairs")
    if (best := measured.get("right_teacher_best")) is not None:
        told.append(f"the surest is right on {share(best)} of texts")
    return "; ".join(told) or "not measured"


def _steps(plane: Plane, centres: Sequence[float], width: float, shares: Sequence[float], style: str) -> Markup:
    """A histogram as one outline."""
    xs = [side for centre in centres for side in (centre - width / 2, centre + width / 2)]
    ys = [share for share in shares for _ in range(2)]
    points = plane.points([xs[0], *xs, xs[-1]], [0.0, *ys, 0.0])
    return element("polygon", points=points, class_=f"area {style}")
