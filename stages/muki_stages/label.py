"""Stage `label`: one teacher's Monte-Carlo dropout passes over the corpus."""

from dataclasses import asdict
from functools import partial
from typing import Annotated, Any

import typer

from muki_pipeline import config
from muki_pipeline.engines import loop
from muki_pipeline.engines.processes import Processes
from muki_pipeline.engines.ray import RayWorkers
from muki_pipeline.errors import MukiError, chosen, shortlist
from muki_pipeline.labelling.answer_file.reading import describe
from muki_pipeline.labelling.answer_file.run import AnswerSummary
from muki_pipeline.labelling.outcome import NEARLY_ALL
from muki_pipeline.labelling.run import LabellingSummary, label_with
from muki_pipeline.names import name_unknown
from muki_stages.options import PARAMS, Address, Engine, ParamsFile, refuse_without_ray
from muki_stages.prepared import open_prepared
from muki_stages.terminal import clock, progress, quiet_libraries, say, warn

ALL = "all"
_MANY_UNANSWERED, _NAMED = 0.01, 8


def main(
    teacher: Annotated[str, typer.Option("--teacher", help="A teacher's name in params.yaml, or all.")],
    params_file: ParamsFile = PARAMS,
    engine: Engine = "local",
    workers: Annotated[int | None, typer.Option("--workers", min=1, help="How many shards at a time.")] = None,
    address: Address = None,
    cores: Annotated[int | None, typer.Option("--cores", min=1, help="Cores of a Ray worker; 1 by default.")] = None,
) -> dict[str, Any]:
    """Run one teacher with K dropout passes over the corpus. Continues where a killed run stopped."""
    quiet_libraries()
    params, layout = open_prepared(params_file)
    is_all = teacher == ALL and ALL not in params.teachers
    teachers = (
        params.teachers
        if is_all
        else {teacher: chosen(teacher, params.teachers, "teacher", f"{params_file}, teachers")}
    )
    with progress() as bars:
        done = label_with(teachers, params.label, layout, bars, _engine(engine, params.label, workers, address, cores))
    for name, summary in done.items():
        _tell(name, summary, params)
    return {name: asdict(summary) for name, summary in done.items()} if is_all else asdict(done[teacher])


def _engine(
    name: str, settings: config.Label, workers: int | None, address: str | None, cores: int | None
) -> loop.Engine | None:
    """What makes the workers; None for this process."""
    refuse_without_ray(name, {"--address": address, "--cores": cores})
    if name == "local":
        return None if workers in (None, 1) else partial(Processes, int(workers or 1))
    if settings.dtype == "auto":
        what = "auto would be decided on this machine, which may differ from the cluster's"
        raise MukiError(what, where="label.dtype", fix="Set it to bfloat16 or float32")
    return partial(RayWorkers, address, workers, cores or 1, gpus=True)


def _tell(teacher: str, done: LabellingSummary | AnswerSummary, params: config.Params) -> None:
    if isinstance(done, AnswerSummary):
        _tell_answers(teacher, done)
        return
    say(
        f"teacher {teacher}: {done.rows:,} texts, {done.new_rows:,} of them labelled now with {params.label.passes} "
        f"passes and one without dropout, {done.truncated:,} cut to {params.label.max_length} tokens"
    )
    if done.arithmetic:
        say(f"teacher {teacher}: arithmetic {done.arithmetic}")
    if done.throughput.positions:  # none where another machine has finished the rest meanwhile
        say(f"teacher {teacher}: {_cost(done)}")
    _warn_of_uniform(teacher, done.close_to_uniform, done.rows, "the trained model")


def _warn_of_uniform(teacher: str, uniform: int, answered: int, what: str) -> None:
    if answered and uniform >= NEARLY_ALL * answered:
        warn(
            f"teacher {teacher} says almost nothing: on {uniform:,} of {answered:,} texts its answer is close "
            f"to uniform over its labels. Is this {what}? No rule can tell what it knows"
        )


def _tell_answers(teacher: str, done: AnswerSummary) -> None:
    read = f"{done.answers:,} answers to {done.rows - done.unanswered:,} of {done.rows:,} texts"
    labels = f"{len(done.labels)} labels ({shortlist(list(done.labels), _NAMED)})"
    say(f"teacher {teacher}: {labels}, {read}, {done.new_rows:,} of them read now")
    say(f"teacher {teacher}: {done.read_as}")
    gives = "samples, so with a mutual information" if done.has_samples else "no samples, so no mutual information"
    say(f"teacher {teacher}: {gives}, and no logits, so no energy: in their place the gate reads its entropy")
    if done.single:
        texts = "text of its file has" if done.single == 1 else "texts of its file have"
        warn(f"{done.single:,} {texts} only one answer: without them, the others would be samples")
    if done.unanswered >= _MANY_UNANSWERED * done.rows:
        share = f"{done.unanswered:,} of {done.rows:,} texts ({done.unanswered / done.rows:.1%})"
        warn(f"teacher {teacher} has no answer to {share}, and no vote on them: {describe(done.missing)}")
    if done.unknown_rows:
        named = name_unknown(done.unknown, done.labels)
        warn(f"{done.unknown_rows:,} rows of {teacher} have labels that are none of its own: {named}")
    for warning in done.warnings:
        warn(f"teacher {teacher}: {warning}")
    _warn_of_uniform(teacher, done.close_to_uniform, done.rows - done.unanswered, "the right file")


def _cost(done: LabellingSummary) -> str:
    throughput = done.throughput
    parts = [
        f"{throughput.texts:,} texts x passes in {clock(done.seconds)}",
        f"{throughput.texts / done.seconds:,.0f} a second",
        f"{throughput.tokens:,} tokens",
        f"{1 - throughput.tokens / throughput.positions:.1%} padding",
    ]
    if done.network_share is not None:
        parts.append(f"{done.network_share:.1%} of the time in the network")
    return ", ".join(parts)
