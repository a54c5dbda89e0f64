"""A student's predictions, how good they are, and any classifier's, found by key or computed and stored."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from muki_pipeline.config import Params
from muki_pipeline.corpus.table import content_digest
from muki_pipeline.errors import MukiError
from muki_pipeline.evaluation import metrics
from muki_pipeline.labels.space import LabelSpace
from muki_pipeline.models.students import StudentFiles, find_student
from muki_pipeline.progress import SILENT, Progress
from muki_pipeline.store import schema
from muki_pipeline.store.columns import arrow, fixed_size_lists, matrix
from muki_pipeline.store.keys import canonical_key
from muki_pipeline.store.store import Store


def open_student(folder: Path, labels: Sequence[str]) -> StudentFiles:
    """The student in a folder, if it knows these labels.

    Raises:
        MukiError: See `find_student`; it has other labels.
    """
    student = find_student(folder)
    if student.labels != tuple(labels):
        here, due = len(student.labels), len(labels)
        what = f"its {here} labels are not the {due} that the teachers and integrate.unknown_label give"
        raise MukiError(what, where=str(folder), fix="Run muki-pipeline integrate and train-student")
    return student


def predict_student(
    student: StudentFiles, texts: list[str], params: Params, progress: Progress = SILENT
) -> NDArray[np.float32]:
    """A student's probabilities, `[texts, labels]`.

    Raises:
        MukiError: It cannot be loaded, or another one has taken its place.
    """
    task = progress.begin("student", len(texts), "texts")
    # Imports torch, which takes seconds: whoever has its answers already does not come here.
    from muki_pipeline.models.loaded.student import load_student, probabilities

    loaded = load_student(student.folder, params.label.device, params.student.max_length)
    if loaded.key != student.key(loaded.max_length):  # answers are stored under that key
        raise MukiError("was replaced while it was measured", where=str(student.folder), fix="Run the command again")
    return probabilities(loaded.logits(texts, task))


def unknown_measures(predicted: NDArray[np.intp], gold: NDArray[np.intp], column: int) -> dict[str, Any]:
    """How well a student knows texts of no teacher's labels; what cannot be measured is absent.

    Args:
        predicted: `[rows]`, the student's column.
        gold: `[rows]`, the right column.
        column: That of the label for such texts.
    """
    called, is_unknown = predicted == column, gold == column
    found: dict[str, Any] = {
        "rows_of_unknown_labels": int(is_unknown.sum()),
        "rows_of_known_labels": int((~is_unknown).sum()),
    }
    if is_unknown.any():
        found["unknown_found"] = float(called[is_unknown].mean())
    if not is_unknown.all():
        found["accuracy_of_known"] = float((predicted == gold)[~is_unknown].mean())
        found["known_called_unknown"] = float(called[~is_unknown].mean())
    return found


def student_measures(
    probs: NDArray[np.floating], gold: NDArray[np.intp], label_space: LabelSpace, teachers: Sequence[str]
) -> dict[str, Any]:
    """A student's accuracy, macro-F1, calibration error, and its accuracy on each teacher's labels.

    Args:
        probs: `[rows, union]`.
        gold: `[rows]`, the right column.
        label_space: The union, and which teacher knows which label.
        teachers: Their names, in the label space's order.
    """
    predicted = probs.argmax(axis=1)
    known_by = label_space.known[gold]  # [rows, teachers]
    return {
        "accuracy": metrics.accuracy(predicted, gold),
        "macro_f1": metrics.macro_f1(predicted, gold, len(label_space.labels)),
        "expected_calibration_error": metrics.expected_calibration_error(probs, gold),
        "block_accuracy": {
            name: metrics.accuracy(predicted[known_by[:, number]], gold[known_by[:, number]])
            for number, name in enumerate(teachers)
            if known_by[:, number].any()
        },
    }


def accuracy_among(probs: NDArray[np.floating], columns: NDArray[np.integer], gold: NDArray[np.intp]) -> float:
    """The share of right answers of a classifier that chooses among some of its labels only.

    Args:
        probs: `[rows, union]`.
        columns: `[labels]`, those to choose among.
        gold: `[rows]`, the right column.
    """
    return metrics.accuracy(columns[probs[:, columns].argmax(axis=1)], gold)


def stored_predictions(
    classifier_key: str, texts: pl.DataFrame, store: Store, answer: Callable[[list[str]], NDArray[np.float32]]
) -> NDArray[np.float32]:
    """A classifier's answers, `[texts, labels]`.

    Args:
        classifier_key: SHA-256 of everything that determines an answer, except for the text.
        texts: `id`, `text`; other columns are left aside.
        store: Where answers are kept.
        answer: Computes the answers to these texts, where they are not stored yet; it alone may load a network.
    """
    rows = arrow(texts.select("id", "text"))
    facts = {"version": schema.PREDICTIONS_VERSION, "classifier": classifier_key, "texts": content_digest(rows)}
    key = canonical_key(facts)
    stored = store.find(key)
    if stored is None:
        answers = fixed_size_lists(answer(texts["text"].to_list()))
        stored = store.finish(key, rows.select(["id"]).append_column("answers", answers), facts)
    return matrix(stored.read(["answers"])["answers"])
