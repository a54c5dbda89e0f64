"""Stage `integrate`: label shards -> golden supervision."""

from pathlib import Path

from pipeline import config, golden
from stages.show import progress, say


def main(params_file: Path) -> None:
    """Run the stage."""
    params, layout = config.load(params_file)
    with progress("rows") as begin:
        rows = golden.integrate(params, layout, lambda total: begin("integrate", total))
    say(f"golden supervision: {rows:,} texts from {len(params.teachers)} teachers")
