"""Stage `evaluate`: metrics.json and the plots' tables."""

import json
from pathlib import Path

import polars as pl

from pipeline import config, store
from pipeline.evaluation import evaluate
from pipeline.figures import uncertainty_figure
from stages.show import progress, quiet_libraries, say


def main(params_file: Path) -> None:
    """Run the stage."""
    quiet_libraries()
    params, layout = config.load(params_file)
    with progress("texts") as begin:
        found = evaluate(params, layout, begin)
    layout.plots.mkdir(parents=True, exist_ok=True)
    for name in ("confusion", "reliability", "uncertainty"):
        table: pl.DataFrame = getattr(found, name)
        if not table.is_empty():
            store.write_bytes(layout.plots / f"{name}.csv", table.write_csv().encode())
    if not found.uncertainty.is_empty():
        uncertainty_figure(found.uncertainty).savefig(
            layout.plots / "uncertainty.png", dpi=110, metadata={"Software": None}
        )
    store.write_bytes(layout.metrics, (json.dumps(found.metrics, indent=2) + "\n").encode())
    say(f"{layout.metrics}; muki-pipeline results shows it as a table")
