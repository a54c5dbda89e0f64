"""Stage `train-student`: golden supervision -> the student."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

from muki_pipeline.progress import SILENT
from muki_pipeline.training.processes import is_first, launch, leaving_quietly
from muki_pipeline.training.student.train import train_student
from muki_stages.project import open_project
from muki_stages.terminal import progress, quiet_libraries, say


def main(params_file: Path, processes: int = 1) -> dict[str, Any]:
    """Run the stage; under torchrun, or with several processes, each of them runs it and the first one reports."""
    quiet_libraries()
    params, layout = open_project(params_file)
    if processes > 1:  # they leave the student behind, which is then found below
        launch(["-m", "muki_stages.cli", "train-student", "--params", str(params_file)], processes)
    with progress() if is_first() else nullcontext(SILENT) as bars, leaving_quietly():
        losses = train_student(params.student, layout, bars)
    if is_first():
        say(", ".join([f"student: {layout.student}", *(f"{name} {value:.4f}" for name, value in losses.items())]))
    return {"folder": str(layout.student), **losses}
