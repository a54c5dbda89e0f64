"""Stage `integrate`: label tables -> golden supervision."""

from pathlib import Path

from pipeline import config
from pipeline.integration.integrate import integrate
from stages.terminal import progress, say


def main(params_file: Path) -> None:
    """Run the stage."""
    params, layout = config.load(params_file)
    with progress() as bars:
        done = integrate(params, layout, layout.golden, bars)
    abstained = f"; {done.abstained:,} of them have weight 0, because no teacher is sure" if done.abstained else ""
    say(f"golden supervision: {done.rows:,} texts from {len(params.teachers)} teachers{abstained}")
    if done.doubtful_agreement is not None:
        say(
            "warning: the teachers' certainty and the texts' words hardly agree on which teacher a text belongs to "
            f"(kappa {done.doubtful_agreement:.2f}), so the gate may be wrong. Are the teachers fully trained, and do "
            "they know this corpus? Look at muki-pipeline report before you train on this"
        )
