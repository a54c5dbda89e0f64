"""Stage `train-teacher`: one of the demo's own teachers, from labelled texts outside the corpus."""

import math
from typing import Annotated, Any

import typer

from muki_pipeline.errors import MukiError
from muki_pipeline.training.teacher.train import train_teacher
from muki_stages.options import PARAMS, ParamsFile
from muki_stages.project import open_project
from muki_stages.terminal import progress, quiet_libraries, say, warn

_LEARNED = 0.9
"""Share of the loss of guessing up to which a teacher has learned something."""


def main(
    teacher: Annotated[str, typer.Option("--teacher", help="A teacher's name in params.yaml.")],
    params_file: ParamsFile = PARAMS,
) -> dict[str, Any]:
    """Train one of the demo's own teachers. If you have teachers, name them in params.yaml instead."""
    quiet_libraries()
    params, layout = open_project(params_file)
    if params.train_teacher is None or teacher not in params.train_teacher.teachers:
        known = sorted(params.train_teacher.teachers) if params.train_teacher else []
        raise MukiError(
            f"there is no teacher {teacher!r} to train, only {known}",
            where=f"{params_file}, train_teacher.teachers",
            fix="Only the teachers listed there are trained here; others are used as they are",
        )
    with progress() as bars:
        loss = train_teacher(teacher, params.train_teacher, layout, bars)
    say(f"teacher {teacher}: {layout.teacher(teacher)}")
    guessing = math.log(len(params.train_teacher.teachers[teacher].labels))
    if loss is not None and loss > _LEARNED * guessing:
        warn(
            f"the loss at the end is {loss:.2f}, and guessing gives {guessing:.2f}: the teacher has learned "
            "next to nothing. Lower its learning rate or give it more steps"
        )
    return {"folder": str(layout.teacher(teacher)), "loss": loss}
