"""Is the average of the teachers' weights a better start for the student than the pretrained model?

Use: `python -m experiments.average_start [FOLDER]`. FOLDER is a finished project with a test set, whose teachers share
a pretrained model; by default this repository's demo. Written is `results/average-start.json`.

After FT-Classifier (arXiv:2412.13526), which averages fine-tuned models and then trains the classifier. All students
learn the same golden table with the same settings, and each begins with a head that is fitted to its targets:

- `pretrained`: the default start, `student.model` with the averaging layer;
- `average`: the teachers' averaged weights (`muki-pipeline average`), read at the first position as by the teachers;
- `average, mean`: the same weights with the averaging layer.

Students that are finished are not trained again.
"""

import argparse
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muki_pipeline import config
from muki_pipeline.config import Params, StudentSettings
from muki_pipeline.evaluation.comparison.significance import paired_tests
from muki_pipeline.evaluation.gold_labels import read_test
from muki_pipeline.evaluation.predict import predict_student, student_measures
from muki_pipeline.labels.tables import open_labelled_corpus
from muki_pipeline.layout import Layout
from muki_pipeline.training.student.train import StudentTraining
from muki_stages import average
from muki_stages.terminal import progress, quiet_libraries

ROOT = Path(__file__).parents[1]
SEEDS = (0, 1, 2)


def starts(params: Params, params_file: Path, work: Path) -> dict[str, StudentSettings]:
    """The student's settings for each start, by name; the averages are saved in a work folder."""
    averaged, unnamed = work / "average", work / "average-mean"
    average.main(params_file, averaged)
    shutil.copytree(averaged, unnamed, dirs_exist_ok=True)
    content = json.loads((averaged / "config.json").read_text())
    names = [f"LABEL_{number}" for number in range(len(content["id2label"]))]
    content |= {"id2label": dict(enumerate(names)), "label2id": {name: number for number, name in enumerate(names)}}
    (unnamed / "config.json").write_text(json.dumps(content))  # models that name no labels get the averaging layer
    models = {"average": averaged, "average, mean": unnamed}
    changes = {name: {"model": str(folder), "revision": None} for name, folder in models.items()}
    return {name: params.student.model_copy(update=each) for name, each in {"pretrained": {}, **changes}.items()}


def run(params_file: Path) -> dict[str, Any]:
    """Train and measure a student for every start and seed."""
    params, layout = config.load(params_file)
    work = layout.work / "average-start"
    space, names = open_labelled_corpus(params, layout).label_space, list(params.teachers)
    test = read_test(layout, space)
    students, right = [], {}
    for start, settings in starts(params, params_file, work).items():
        correct: list[NDArray[np.bool_]] = []
        for seed in SEEDS:
            name = f"{start}, seed {seed}"
            losses = train(settings.model_copy(update={"seed": seed}), layout, work / name, name)
            probs = predict_student(work / name, space.labels, test.texts["text"].to_list(), params)
            correct.append(probs.argmax(axis=1) == test.columns)
            measures = student_measures(probs, test.columns, space, names)
            students.append({"start": start, "seed": seed, **measures, **losses})
            print(students[-1], flush=True)
        right[start] = np.mean(correct, axis=0)
    means = {start: float(each.mean()) for start, each in right.items()}
    return {"students": students, "accuracy": means, "tests": paired_tests(right).to_dicts()}


def train(settings: StudentSettings, layout: Layout, folder: Path, name: str) -> dict[str, float]:
    """Train a student of the project's golden table into a folder."""
    with progress() as bars:
        return StudentTraining(settings, layout.golden, folder, folder.parent / "steps", layout.root, name).run(bars)


def main() -> None:
    """Run the experiment and write its result."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT)
    folder = parser.parse_args().folder
    quiet_libraries()
    values = run(folder / "params.yaml")
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
    command = " ".join(["python -m experiments.average_start", *([] if folder == ROOT else [str(folder)])])
    result = {"command": command, "commit": commit.stdout.strip(), "values": values}
    path = ROOT / "results" / "average-start.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps({"accuracy": values["accuracy"], "tests": values["tests"]}, indent=1))


if __name__ == "__main__":
    main()
