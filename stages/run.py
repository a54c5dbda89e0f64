"""Command `run`: all stages in order, without DVC. What is finished is not done again."""

from pathlib import Path

from pipeline import config
from stages import embed, evaluate, integrate, label, prepare, train_student, train_teacher
from stages.terminal import say


def main(params_file: Path) -> None:
    """Run the command."""
    params, layout = config.load(params_file)
    prepare.main(params_file)
    for name in params.train_teacher.teachers if params.train_teacher else ():
        train_teacher.main(params_file, name)
    for name in params.teachers:
        label.main(params_file, name)
    embed.main(params_file)
    integrate.main(params_file)
    train_student.main(params_file)
    if params.prepare.test is not None:
        evaluate.main(params_file)
    say(f"the student is in {layout.student}; next: muki-pipeline report, or muki-pipeline predict FILE")
