"""Stage `integrate`: label shards -> golden supervision."""

from pathlib import Path

from pipeline import config, golden
from stages.show import progress, say


def main(params_file: Path) -> None:
    """Run the stage."""
    params, layout = config.load(params_file)
    with progress("rows") as begin:
        done = golden.integrate(params, layout, layout.golden, lambda total: begin("integrate", total))
    abstained = f", {done.abstained:,} of them without weight: no teacher is sure" if done.abstained else ""
    say(f"golden supervision: {done.rows:,} texts from {len(params.teachers)} teachers{abstained}")
