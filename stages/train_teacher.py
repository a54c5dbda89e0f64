"""Stage `train-teacher`: one of the demo's own teachers, from labelled texts outside the corpus."""

from pathlib import Path

import polars as pl

from pipeline import config, store
from pipeline.errors import MukiError
from pipeline.teacher_training import train_teacher
from stages.show import quiet_libraries, say, training


def main(params_file: Path, teacher: str) -> None:
    """Run the stage."""
    quiet_libraries()
    params, layout = config.load(params_file)
    if params.train_teacher is None or teacher not in params.train_teacher.teachers:
        known = sorted(params.train_teacher.teachers) if params.train_teacher else []
        raise MukiError(
            f"no teacher {teacher!r} to be trained, only {known}",
            where=f"{params_file}, train_teacher.teachers",
            fix="A teacher that is trained already needs no train-teacher",
        )
    rows = store.read_file(
        layout.teacher_train, ["text", "label"], "Set prepare.rows_per_label and run muki-pipeline prepare"
    )
    with training(f"teacher {teacher}") as watch:
        train_teacher(
            params.train_teacher.settings_of(teacher),
            params.train_teacher.teachers[teacher].labels,
            pl.DataFrame(pl.from_arrow(rows)),
            layout.teacher(teacher),
            layout.root,
            watch,
        )
    say(f"teacher {teacher}: {layout.teacher(teacher)}")
