"""A student's predictions, and how good they are."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModelForSequenceClassification

from pipeline.config import Params
from pipeline.errors import MukiError, refusing
from pipeline.evaluation import metrics
from pipeline.integration.confidence import softmax
from pipeline.integration.label_space import LabelSpace
from pipeline.layout import MAKE_STUDENT
from pipeline.models.batching import by_token_budget, collate, tokenise
from pipeline.models.devices import choose_device, token_budget
from pipeline.models.tokenizers import align_padding, load_tokenizer
from pipeline.progress import SILENT, Progress
from pipeline.tables import files, folders


def predict_student(
    folder: Path, labels: Sequence[str], texts: list[str], params: Params, progress: Progress = SILENT
) -> NDArray[np.float64]:
    """The probabilities `[texts, labels]` of the student in a folder.

    Raises:
        MukiError: There is no student, it cannot be loaded, or it has other labels.
    """
    if not files.exists(folder / "config.json"):
        raise MukiError("there is no student", where=str(folder), fix=MAKE_STUDENT)
    if not folders.is_sealed(folder):
        what = "its files are not those that the training saved"
        raise MukiError(what, where=str(folder), fix=f"Remove it, then {MAKE_STUDENT[0].lower()}{MAKE_STUDENT[1:]}")
    with refusing("cannot be loaded", where=str(folder), fix=MAKE_STUDENT):
        model = AutoModelForSequenceClassification.from_pretrained(folder, use_safetensors=True, dtype=torch.float32)
    tokenizer = load_tokenizer(folder, str(folder))
    align_padding(model, tokenizer)
    known = [model.config.id2label[number] for number in range(model.config.num_labels)]
    if known != list(labels):
        raise MukiError(
            f"its {len(known)} labels are not the {len(labels)} labels of the teachers",
            where=str(folder),
            fix="Run muki-pipeline integrate and train-student",
        )
    device = choose_device(params.label.device)
    model = model.eval().to(device)
    task = progress.begin("student", len(texts), "texts")
    tokens = tokenise(tokenizer, texts, params.student.max_length)
    logits = np.empty((len(texts), len(labels)), dtype=np.float32)
    with torch.inference_mode():
        for rows in by_token_budget(tokens.lengths, token_budget(params.label, device)):
            inputs = collate(tokens, rows, model.config.pad_token_id, device).inputs
            logits[rows] = model(**inputs).logits.float().cpu().numpy()
            task.advance(len(rows))
    return softmax(logits)


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
