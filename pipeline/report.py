"""Figures, from tables."""

from pathlib import Path

import polars as pl

TITLES = {
    "mc_entropy": "MC entropy (MUKI)",
    "entropy": "entropy without dropout",
    "mutual_information": "mutual information",
}
_COLOURS = {"right": "#2a7fb8", "wrong": "#e07b39"}


def uncertainty_figure(uncertainty: pl.DataFrame, path: Path) -> None:
    """Draw how uncertain right and wrong teachers are, one panel per scorer (MUKI, Figure 2).

    Args:
        uncertainty: `scorer`, `teacher` (right or wrong), `uncertainty` (bin centre), `share`.
        path: Where the picture goes; its ending says which format.
    """
    from matplotlib.figure import Figure

    scorers = uncertainty["scorer"].unique(maintain_order=True).to_list()
    figure = Figure(figsize=(4 * len(scorers), 3), layout="constrained")
    axes = figure.subplots(1, len(scorers), sharey=True, squeeze=False)[0]
    for axis, scorer in zip(axes, scorers, strict=True):
        panel = uncertainty.filter(pl.col("scorer") == scorer)
        for teacher, colour in _COLOURS.items():
            bars = panel.filter(pl.col("teacher") == teacher)
            width = 2 * float(bars["uncertainty"].to_numpy().min())  # the first bin begins at 0
            axis.bar(
                bars["uncertainty"], bars["share"], width=width, color=colour, alpha=0.6, label=f"{teacher} teacher"
            )
        axis.set_title(TITLES.get(scorer, scorer))
        axis.set_xlabel("normalised uncertainty")
    axes[0].set_ylabel("share of (text, teacher) pairs")
    axes[0].legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": None})
