"""Stage `train-student`: golden supervision -> the student."""

from pathlib import Path
from typing import Any

from pipeline import config
from pipeline.tables import files
from pipeline.training.student import train_student
from stages.terminal import progress, quiet_libraries, say


def main(params_file: Path) -> dict[str, Any]:
    """Run the stage."""
    quiet_libraries()
    params, layout = config.load(params_file)
    with files.only_one(layout.work / "student.lock", "training the student"), progress() as bars:
        losses = train_student(
            params.student, layout.golden, layout.student, layout.work / "student", layout.root, bars
        )
    say(", ".join([f"student: {layout.student}", *(f"{name} {value:.4f}" for name, value in losses.items())]))
    return {"folder": str(layout.student), **losses}
