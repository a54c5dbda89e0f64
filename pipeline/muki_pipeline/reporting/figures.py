"""Figures, from tables. As SVG they take the page's text colour, so that they can be read in light and dark mode."""

import io
import re
import warnings
from collections.abc import Sequence
from zlib import crc32

import matplotlib
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from muki_pipeline.routing.scorers import SCORERS

_PANELS_A_LINE = 3
_COLOURS = {"right": "#2a7fb8", "wrong": "#e07b39"}
_BLUE, _ORANGE = _COLOURS.values()
_INK = "#010203"
"""Stands for the page's colour until the SVG is written."""


def svg(figure: Figure) -> str:
    """A figure as an SVG element without a background, in the page's colour."""
    for axis in figure.axes:
        _ink(axis)
    content = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "muki"}), warnings.catch_warnings():
        # Texts stay texts, for which the browser has the glyphs that this machine's font may lack.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure.savefig(content, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    drawn = content.getvalue()
    drawn = drawn[drawn.index("<svg") :].replace(_INK, "currentColor")
    own = f"f{crc32(drawn.encode()):08x}-"  # matplotlib gives every figure the same ids, and a page has several
    return re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{own}", drawn)


def png(figure: Figure) -> bytes:
    """A figure as a PNG file's content."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=110, metadata={"Software": None})
    return content.getvalue()


def _ink(axis: Axes) -> None:
    axis.tick_params(colors=_INK)
    for text in (axis.title, axis.xaxis.label, axis.yaxis.label, *axis.texts):
        text.set_color(_INK)
    for spine in axis.spines.values():
        spine.set_color(_INK)
    if (legend := axis.get_legend()) is not None:
        for text in legend.get_texts():
            text.set_color(_INK)


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


def share_figure(rows: Sequence[str], columns: Sequence[str], counts: NDArray[np.integer], across: str) -> Figure:
    """A matrix of counts, each row as shares of its sum: the higher the share, the darker.

    Args:
        rows: Names of the rows.
        columns: Names of the columns.
        counts: `[rows, columns]`.
        across: What the columns are.
    """
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(3 + 0.45 * len(columns), 1.6 + 0.3 * len(rows)), layout="constrained")
    axis = figure.subplots()
    colour = [int(_BLUE[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    axis.imshow(
        np.concatenate([np.broadcast_to(colour, (*shares.shape, 3)), shares[:, :, None]], axis=2), aspect="auto"
    )
    # A label may hold $ signs, which would be read as mathematics.
    axis.set_xticks(range(len(columns)), columns, rotation=60, ha="right", parse_math=False)
    axis.set_yticks(range(len(rows)), rows, parse_math=False)
    axis.set_xlabel(across)
    if counts.size <= _MOST_WRITTEN:
        for row, column in np.argwhere(counts > 0):
            axis.text(column, row, f"{counts[row, column]}", ha="center", va="center", fontsize=7)
    return figure


_MOST_WRITTEN = 900
"""Cells up to which a matrix has its counts written in."""


def histogram_figure(values: NDArray[np.floating], what: str) -> Figure:
    """A histogram of one quantity over the corpus."""
    figure = Figure(figsize=(5, 3), layout="constrained")
    axis = figure.subplots()
    axis.hist(values, bins=40, color=_BLUE)
    axis.set_xlabel(what)
    axis.set_ylabel("texts")
    return figure


def reliability_figure(reliability: pl.DataFrame) -> Figure:
    """Accuracy against confidence; on the diagonal the student is as accurate as it is confident.

    Args:
        reliability: `confidence`, `accuracy`, `rows` of each bin.
    """
    figure = Figure(figsize=(4, 4), layout="constrained")
    axis = figure.subplots()
    axis.plot([0, 1], [0, 1], linestyle=":", color=_INK)
    size = 10 + 190 * reliability["rows"] / reliability["rows"].max()
    axis.scatter(reliability["confidence"], reliability["accuracy"], s=size, color=_BLUE)
    axis.set_xlabel("confidence")
    axis.set_ylabel("share right")
    return figure


def curve_figure(curve: pl.DataFrame) -> Figure:
    """The student's loss.

    Args:
        curve: `step`, `loss`, `validation_loss`; null where one was not taken.
    """
    figure = Figure(figsize=(6, 3), layout="constrained")
    axis = figure.subplots()
    for name, colour in (("loss", _BLUE), ("validation_loss", _ORANGE)):
        taken = curve.drop_nulls(name)
        if len(taken):
            axis.plot(taken["step"], taken[name], color=colour, label=name.replace("_", " "))
    axis.set_xlabel("step")
    axis.set_ylabel("nats")
    axis.legend(frameon=False)
    return figure
