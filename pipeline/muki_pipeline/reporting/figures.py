"""The figure that `evaluate` draws beside its table, and a figure as a PNG file."""

import io

import polars as pl
from matplotlib.figure import Figure

from muki_pipeline.routing.scorers import SCORERS

_PANELS_A_LINE = 3
_COLOURS = {"right": "#2a7fb8", "wrong": "#e07b39"}


def png(figure: Figure) -> bytes:
    """A figure as a PNG file's content."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=110, metadata={"Software": None})
    return content.getvalue()


def uncertainty_figure(uncertainty: pl.DataFrame) -> Figure:
    """How uncertain right and wrong teachers are, one panel per scorer (MUKI, Figure 2).

    Args:
        uncertainty: `scorer`, `teacher` (right or wrong), `uncertainty` (bin centre), `share`.
    """
    scorers = uncertainty["scorer"].unique(maintain_order=True).to_list()
    lines = -(-len(scorers) // _PANELS_A_LINE)
    figure = Figure(figsize=(4 * _PANELS_A_LINE, 3 * lines), layout="constrained")
    axes = figure.subplots(lines, _PANELS_A_LINE, sharey=True, squeeze=False).ravel()
    for axis in axes[len(scorers) :]:
        axis.set_axis_off()
    for axis, scorer in zip(axes[: len(scorers)], scorers, strict=True):
        panel = uncertainty.filter(pl.col("scorer") == scorer)
        for teacher, colour in _COLOURS.items():
            bars = panel.filter(pl.col("teacher") == teacher)
            width = float(bars["uncertainty"].diff()[1])
            axis.bar(
                bars["uncertainty"], bars["share"], width=width, color=colour, alpha=0.6, label=f"{teacher} teacher"
            )
        axis.set_title(SCORERS[scorer].title if scorer in SCORERS else scorer)
        axis.set_xlabel("uncertainty, 1 - score")
    axes[0].set_ylabel("share of (text, teacher) pairs")
    axes[0].legend(frameon=False)
    return figure
