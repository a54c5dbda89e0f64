"""Stage `train-student`: golden supervision -> the student."""

from contextlib import nullcontext
from typing import Annotated, Any

import typer

from muki_pipeline.progress import SILENT
from muki_pipeline.training.processes import check_batch, is_first, is_launched, launch, leaving_quietly
from muki_pipeline.training.student.train import check_golden, train_student
from muki_stages.options import PARAMS, ParamsFile
from muki_stages.project import open_project
from muki_stages.terminal import progress, quiet_libraries, say


def main(
    params_file: ParamsFile = PARAMS,
    processes: Annotated[int, typer.Option("--processes", min=1, help="Processes, one for each GPU.")] = 1,
) -> dict[str, Any]:
    """Train the student from golden supervision alone. Continues from its last checkpoint."""
    quiet_libraries()
    params, layout = open_project(params_file)
    if processes > 1:  # they leave the student behind, which is then found below
        check_batch(params.student.batch_size, processes)  # here, so that each of them need not say it
        check_golden(params, layout)
        launch(["-P", "-m", "muki_stages.cli", "train-student", "--params", str(params_file)], processes)
    with progress() if is_first() else nullcontext(SILENT) as bars, leaving_quietly():
        losses = train_student(params, layout, bars)
    if is_first() and not is_launched():
        say(", ".join([f"student: {layout.student}", *(f"{name} {value:.4f}" for name, value in losses.items())]))
    return {"folder": str(layout.student), **losses}
