"""Stage `train-student`: golden supervision -> the student."""

from pathlib import Path

from pipeline import config
from pipeline.student import train_student
from stages.show import quiet_libraries, say, training


def main(params_file: Path) -> None:
    """Run the stage."""
    quiet_libraries()
    params, layout = config.load(params_file)
    with training("student") as watch:
        losses = train_student(params.student, layout, watch)
    say(", ".join([f"student: {layout.student}", *(f"{name} {value:.4f}" for name, value in losses.items())]))
