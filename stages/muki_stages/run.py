"""Command `run`: all stages in order, without DVC. What is finished is not done again."""

from collections.abc import Mapping
from typing import Any

from rich.text import Text

from muki_pipeline import config
from muki_pipeline.routing.answers import wilson_interval
from muki_pipeline.setup.dvc import has_gold
from muki_stages import embed, evaluate, integrate, label, prepare, train_student, train_teacher
from muki_stages.options import PARAMS, ParamsFile
from muki_stages.terminal import FIRST, figure, is_heard, say, steps

_REVIEW = "muki-pipeline review --html"
_NEXT = {
    "muki-pipeline report": "one page about all of this",
    _REVIEW: "a page to find out how often the right teacher is chosen",
    "muki-pipeline predict FILE": "the student's labels of new texts",
}


def main(params_file: ParamsFile = PARAMS) -> dict[str, Any]:
    """Run all stages in order, without DVC. What is finished is not done again."""
    params, layout = config.load(params_file)
    done: dict[str, Any] = {"prepare": prepare.main(params_file)}
    for name in params.files_of_answers:  # a fault in a file is told before networks run for hours
        done[f"label {name}"] = label.main(name, params_file)
    for name in params.train_teacher.teachers if params.train_teacher else ():
        done[f"train-teacher {name}"] = train_teacher.main(name, params_file)
    for name in params.networks:
        done[f"label {name}"] = label.main(name, params_file)
    done |= {"embed": embed.main(params_file), "integrate": integrate.main(params_file)}
    done["train-student"] = train_student.main(params_file)
    if has_gold(params):
        done["evaluate"] = evaluate.main(params_file)
    say(_how_good(done.get("evaluate", {}).get("student")))
    say(f"the student is in {layout.student}")
    if is_heard():
        few = {command: what for command, what in _NEXT.items() if command != _REVIEW}
        steps(_NEXT if len(params.teachers) > 1 else few, stderr=True)
    return done


def _how_good(student: Mapping[str, Any] | None) -> Text:
    if student is None:
        return Text("how good it is, nobody knows: name labelled texts in prepare.test")
    texts = student["rows"]
    low, high = wilson_interval(round(student["accuracy"] * texts), texts)
    right = Text.assemble("the student is right on ", (figure(student["accuracy"]), FIRST))
    return right.append(f" of {texts:,} test texts (95 % interval {figure(low)} to {figure(high)})")
