"""What the student's training is worth: another start, other dropout, over seeds.

Use: `python -m experiments.training [FOLDER] [--variants NAME ...] [--seeds N]`. FOLDER is a finished project with a
test set; by default this repository's demo. Written is `results/training/NAME.json`, NAME being the folder's.

All students learn the same golden table, and each begins with a head that is fitted to its targets:

- `default`: as `train-student` does it;
- `own`: with the pretrained model's own dropout, a mask for each text, in attention too;
- `none`: without dropout;
- `average`: from the teachers' averaged weights (`muki-pipeline average`; they must share a pretrained model), read at
  the first position as by the teachers. After FT-Classifier (arXiv:2412.13526), which averages fine-tuned models and
  then trains the classifier.

Students that are finished are not trained again.
"""

import argparse
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray
from torch import nn
from torch.overrides import TorchFunctionMode

from experiments.record import Recorder
from muki_pipeline import config
from muki_pipeline.config import StudentSettings
from muki_pipeline.evaluation.comparison.significance import paired_tests
from muki_pipeline.evaluation.gold_labels import read_test
from muki_pipeline.evaluation.predict import open_student, predict_student, student_measures
from muki_pipeline.labels.tables import open_labelled_corpus
from muki_pipeline.layout import Layout
from muki_pipeline.training.student import distillation
from muki_pipeline.training.student.train import StudentTraining
from muki_stages import average
from muki_stages.terminal import progress, quiet_libraries

ROOT = Path(__file__).parents[1]
VARIANTS = ("default", "own", "none", "average")


@contextmanager
def instead(dropout: type[AbstractContextManager[Any]]) -> Iterator[None]:
    """Inside, a student in training has this in place of its dropout."""
    with patch.object(distillation, "CheapDropout", dropout):
        yield


class _NoDropout(TorchFunctionMode):
    """Inside, dropout drops nothing."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        more = dict(kwargs or {})
        if func is nn.functional.scaled_dot_product_attention:  # a GPU's, which drops in its kernel
            more["dropout_p"] = 0.0
        return args[0] if func is nn.functional.dropout else func(*args, **more)


INSTEAD: dict[str, type[AbstractContextManager[Any]]] = {"own": nullcontext, "none": _NoDropout}


def train(variant: str, settings: StudentSettings, params_file: Path, layout: Layout, name: str) -> Path:
    """Train a student of the project's golden table; its folder."""
    work = layout.work / "training" / variant
    if variant == "average":
        if not (work / "teachers" / "config.json").exists():
            average.main(work / "teachers", params_file)
        settings = settings.model_copy(update={"model": str(work / "teachers"), "revision": None})
    folder = work / f"seed-{settings.seed}"
    with instead(INSTEAD[variant]) if variant in INSTEAD else nullcontext(), progress() as bars:
        StudentTraining(settings, layout.golden, folder, work / "steps", layout.root, name).run(bars)
    return folder


def run(params_file: Path, variants: list[str], seeds: int) -> dict[str, Any]:
    """Train and measure a student for every variant and seed."""
    params, layout = config.load(params_file)
    space, names = open_labelled_corpus(params, layout).label_space, list(params.teachers)
    test = read_test(layout, space)
    students, right = [], {}
    for variant in variants:
        correct: list[NDArray[np.bool_]] = []
        for seed in range(seeds):
            settings = params.student.model_copy(update={"seed": seed})
            folder = train(variant, settings, params_file, layout, f"{variant}, seed {seed}")
            probs = predict_student(open_student(folder, space.labels), test.texts["text"].to_list(), params)
            correct.append(probs.argmax(axis=1) == test.columns)
            students.append({"variant": variant, "seed": seed, **student_measures(probs, test.columns, space, names)})
            print(variant, seed, students[-1]["accuracy"], flush=True)
        right[variant] = np.mean(correct, axis=0)
    means = {variant: float(each.mean()) for variant, each in right.items()}
    tests = paired_tests(right).to_dicts() if len(right) > 1 else []
    return {"settings": params.student.model_dump(), "students": students, "accuracy": means, "tests": tests}


def main() -> None:
    """Run the variants of one project and write what came out."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--seeds", type=int, default=3)
    chosen = parser.parse_args()
    quiet_libraries()
    recorder = Recorder()
    values = run(chosen.folder / "params.yaml", chosen.variants, chosen.seeds)
    name = "demo" if chosen.folder == ROOT else chosen.folder.resolve().name
    recorder.write(f"training/{name}", values, seconds=recorder.lap(), seeds=range(chosen.seeds))
    print(values["accuracy"], values["tests"])


if __name__ == "__main__":
    main()
