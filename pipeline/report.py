"""Figures, from tables."""

from pathlib import Path

import polars as pl

TITLES = {
    "mc_entropy": "MC entropy (MUKI)",
    "entropy": "entropy without dropout",
    "mutual_information": "mutual information",
    "max_probability": "largest probability",
    "mc_max_probability": "largest MC probability",
    "energy": "energy, standardised",
    "calibrated": "energy and mutual information",
    "gate": "scores and words",
}
_PANELS_A_LINE = 3
_COLOURS = {"right": "#2a7fb8", "wrong": "#e07b39"}


def uncertainty_figure(uncertainty: pl.DataFrame, path: Path) -> None:
    """Draw how uncertain right and wrong teachers are, one panel per scorer (MUKI, Figure 2).

    Args:
        uncertainty: `scorer`, `teacher` (right or wrong), `uncertainty` (bin centre), `share`.
        path: Where the picture goes; its ending says which format.
    """
    from matplotlib.figure import Figure

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
        axis.set_title(TITLES.get(scorer, scorer))
        axis.set_xlabel("uncertainty, 1 - score")
    axes[0].set_ylabel("share of (text, teacher) pairs")
    axes[0].legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": None})
