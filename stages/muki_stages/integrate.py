"""Stage `integrate`: label tables -> golden supervision."""

from dataclasses import asdict
from functools import partial
from typing import Any

from muki_pipeline.engines.local import Threads
from muki_pipeline.engines.ray import RayWorkers
from muki_pipeline.errors import shortlist
from muki_pipeline.routing.gate.agreement import SLIGHT
from muki_pipeline.supervision.integrate import integrate
from muki_pipeline.supervision.summary import RoutingSummary
from muki_stages.options import PARAMS, Address, Engine, ParamsFile, refuse_without_ray
from muki_stages.project import open_project
from muki_stages.terminal import progress, say, warn


def main(params_file: ParamsFile = PARAMS, engine: Engine = "local", address: Address = None) -> dict[str, Any]:
    """Join all teachers' labels into golden supervision."""
    refuse_without_ray(engine, {"--address": address})
    params, layout = open_project(params_file)
    workers = Threads if engine == "local" else partial(RayWorkers, address)
    with progress() as bars:
        done = integrate(params, layout, layout.golden, bars, workers)
    left_out = f"; {done.abstained:,} of them have weight 0: no teacher answers or knows them" if done.abstained else ""
    again = "" if done.is_new else ", as it was before"
    if done.foreign and (label := params.integrate.unknown_label):
        left_out += f"; {done.foreign:,} seem to belong to no teacher's labels and are taught as {label!r}"
    say(f"golden supervision: {done.rows:,} texts from {len(params.teachers)} teachers{again}{left_out}")
    if params.integrate.unknown_label and not done.foreign:
        warn(f"no text is taught as {params.integrate.unknown_label!r}: the student will not know it")
    if done.routing is not None:
        _say_routing(done.routing)
    return asdict(done)


def _say_routing(routing: RoutingSummary) -> None:
    shares = ", ".join(f"{name} {teacher['texts']:,}" for name, teacher in routing.teachers.items())
    say(f"routing: texts per teacher: {shares}")
    if routing.starved:
        worst = routing.starved[0]
        warn(
            f"hardly any text is taught as {shortlist([each.label for each in routing.starved])}. A teacher "
            f"gives {worst.label!r} to {worst.answered:,} texts: {worst.taught:,} are taught as it, {worst.taken:,} as "
            f"{worst.rival!r}. Either the corpus lacks such texts, or another teacher's label takes them; "
            "muki-pipeline review asks about them first"
        )
    estimate = routing.estimate
    if estimate is None:
        return
    if (audit := routing.audit) is not None:
        say(
            f"accuracy of the routing by {audit.texts:,} answers: {audit.share:.3f} (95 % interval {audit.low:.3f} to "
            f"{audit.high:.3f})"
        )
    else:
        say("how often that is right, nobody knows without (more) answers: muki-pipeline review asks a person")
    doubts = []
    if estimate.agreement <= SLIGHT:
        doubts.append(
            "at first the teachers' certainty, the texts and the labels' names agreed only slightly on which teacher "
            f"a text belongs to (kappa {estimate.agreement:.2f})"
        )
    if estimate.has_drifted:
        doubts.append("the texts came to contradict the labels' names, as when a teacher is only half trained")
    if doubts:
        warn(
            f"{'; and '.join(doubts)}. Are all teachers fully trained? Do the labels' names say what they "
            "mean? Do the teachers know this corpus? Check a sample with muki-pipeline review before you train on this"
        )
