"""Stage `integrate`: label tables -> golden supervision."""

from pathlib import Path

from pipeline import config
from pipeline.integration.integrate import RoutingSummary, integrate
from pipeline.integration.routing.agreement import SLIGHT
from stages.terminal import progress, say


def main(params_file: Path) -> None:
    """Run the stage."""
    params, layout = config.load(params_file)
    with progress() as bars:
        done = integrate(params, layout, layout.golden, bars)
    abstained = f"; {done.abstained:,} of them have weight 0, because no teacher is sure" if done.abstained else ""
    say(f"golden supervision: {done.rows:,} texts from {len(params.teachers)} teachers{abstained}")
    if done.routing is not None:
        _say_routing(done.routing)


def _say_routing(routing: RoutingSummary) -> None:
    shares = ", ".join(f"{name} {teacher['texts']:,}" for name, teacher in routing.teachers.items())
    say(f"routing: texts per teacher: {shares}; mean posterior {routing.mean_posterior:.2f}")
    estimate = routing.estimate
    if estimate is None:
        return
    if not estimate.is_sound:
        say(
            "warning: the teachers' certainty, the texts and the labels' names hardly agree on which teacher a text "
            f"belongs to (kappa {estimate.agreement:.2f}), so certainty and names decide without learning from the "
            "texts. Are the teachers fully trained, and do they know this corpus? Check a sample with muki-pipeline "
            "review"
        )
        return
    views = ", ".join(f"{name} {accuracy:.2f}" for name, accuracy in estimate.accuracies.items())
    say(f"estimated accuracy of each view: {views} (from their agreement; up to 0.1 too high)")
    doubts = []
    if estimate.agreement <= SLIGHT:
        doubts.append(f"at first the views agreed only slightly (kappa {estimate.agreement:.2f})")
    if estimate.has_drifted:
        doubts.append("the views came to agree less from round to round, as when a teacher is only half trained")
    if doubts:
        say(f"warning: {' and '.join(doubts)}. Check a sample with muki-pipeline review before you train on this")
