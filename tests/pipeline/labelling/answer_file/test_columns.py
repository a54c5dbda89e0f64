"""Which columns of a file of answers are read."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from muki_pipeline.blocks import AnswerFile
from muki_pipeline.deployment.classify import Request, classify_file
from muki_pipeline.errors import MukiError
from muki_pipeline.labelling.answer_file.reading import Answers, read_answers
from muki_pipeline.progress import Progress


class Certain:
    """A classifier that gives every text the same label."""

    key = "0" * 64

    def __init__(self, label: str) -> None:
        self.labels, self.label = ("yes", "no"), label

    def probs(self, texts: list[str], progress: Progress) -> NDArray[np.float32]:
        row = [0.9 if label == self.label else 0.1 for label in self.labels]
        return np.array([row] * len(texts), dtype=np.float32)


def read(path: Path, **settings: Any) -> Answers:
    return read_answers("vendor", AnswerFile(answers=path.name, **settings), path.parent)


def first(answers: Answers) -> dict[str, float]:
    [row] = answers.probs(np.array([0]))
    return {label: round(float(value), 4) for label, value in zip(answers.labels, row, strict=True)}


def predicted(folder: Path, times: int, every_label: bool) -> Path:
    """A file with gold labels `no`, which was classified as `no` and, the last time, as `yes`."""
    pl.DataFrame({"text": ["x", "y"], "label": ["no", "no"]}).write_csv(folder / "0.csv")
    for time in range(times):
        target = folder / f"{time + 1}.csv"
        classifier = Certain("yes" if time == times - 1 else "no")
        classify_file(classifier, Request(folder / f"{time}.csv", target, "text", every_label=every_label))
    return folder / f"{times}.csv"


@pytest.mark.parametrize("times", [1, 2, 3])
@pytest.mark.parametrize("settings", [{}, {"labels": ["no", "yes"]}])
def test_what_predict_wrote_is_read_and_not_the_gold_labels_beside_it(
    tmp_path: Path, times: int, settings: dict[str, Any]
) -> None:
    assert first(read(predicted(tmp_path, times, every_label=True), **settings)) == {"yes": 0.9, "no": 0.1}


def test_of_a_gold_and_a_predicted_label_the_settings_must_choose(tmp_path: Path) -> None:
    path = predicted(tmp_path, 2, every_label=False)
    with pytest.raises(MukiError, match=r"'label' and 'predicted predicted label'.*Set teachers\.vendor\.label to"):
        read(path)
    chosen = read(path, label="predicted predicted label", labels=["yes", "no"])
    assert first(chosen) == {"yes": 0.9, "no": 0.1}, "with the probability that was written with it"
    assert first(read(path, label="label", labels=["yes", "no"])) == {"yes": 0.0, "no": 1.0}


def test_a_predicted_label_without_another_is_read(tmp_path: Path) -> None:
    frame = pl.DataFrame({"text": ["x", "y"], "probability": [7, 8], "predicted label": ["yes", "no"]})
    frame.with_columns(pl.lit(0.8).alias("predicted probability")).write_csv(tmp_path / "a.csv")
    assert first(read(tmp_path / "a.csv")) == {"no": 0.2, "yes": 0.8}
