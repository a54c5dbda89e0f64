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
    if done.doubtful_agreement is not None:
        say(
            "warning: the teachers' certainty and the texts' words hardly agree on whose a text is (kappa "
            f"{done.doubtful_agreement:.2f}), so the gate may be wrong. Are the teachers fully trained, and do they "
            "know this corpus? Look at muki-pipeline report before you train on this"
        )
