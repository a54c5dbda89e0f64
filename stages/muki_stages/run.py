"""Command `run`: all stages in order, without DVC. What is finished is not done again."""

from typing import Any

from muki_pipeline import config
from muki_pipeline.setup.dvc import has_gold
from muki_stages import embed, evaluate, integrate, label, prepare, train_student, train_teacher
from muki_stages.options import PARAMS, ParamsFile
from muki_stages.terminal import say


def main(params_file: ParamsFile = PARAMS) -> dict[str, Any]:
    """Run all stages in order, without DVC. What is finished is not done again."""
    params, layout = config.load(params_file)
    done: dict[str, Any] = {"prepare": prepare.main(params_file)}
    for name in params.train_teacher.teachers if params.train_teacher else ():
        done[f"train-teacher {name}"] = train_teacher.main(name, params_file)
    for name in params.teachers:
        done[f"label {name}"] = label.main(name, params_file)
    done |= {"embed": embed.main(params_file), "integrate": integrate.main(params_file)}
    done["train-student"] = train_student.main(params_file)
    if has_gold(params):
        done["evaluate"] = evaluate.main(params_file)
    say(f"the student is in {layout.student}; next: muki-pipeline report, or muki-pipeline predict FILE")
    return done
