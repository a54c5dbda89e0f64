"""What a student says of the test set, and what that is worth."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from pipeline import metrics
from pipeline.batching import by_token_budget, collate, tokenise
from pipeline.config import Params
from pipeline.devices import choose_device, token_budget
from pipeline.errors import MukiError
from pipeline.layout import MAKE_STUDENT
from pipeline.uncertainty import softmax
from pipeline.vocabulary import Vocabulary

Progress = Callable[[int], None]


def predict_student(
    folder: Path, labels: Sequence[str], texts: list[str], params: Params, begin: Callable[[str, int], Progress]
) -> NDArray[np.float64]:
    """The probabilities `[texts, labels]` of the student in a folder.

    Raises:
        MukiError: There is no student, or it knows other labels.
    """
    if not (folder / "config.json").exists():
        raise MukiError("there is no student", where=str(folder), fix=MAKE_STUDENT)
    model = AutoModelForSequenceClassification.from_pretrained(folder, use_safetensors=True, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    known = [model.config.id2label[number] for number in range(model.config.num_labels)]
    if known != list(labels):
        raise MukiError(
            f"it knows {len(known)} labels that are not the union of the teachers' {len(labels)}",
            where=str(folder),
            fix="Run muki-pipeline integrate and train-student",
        )
    device = choose_device(params.label.device)
    model = model.eval().to(device)
    progress = begin("student", len(texts))
    tokens = tokenise(tokenizer, texts, params.student.max_length)
    logits = np.empty((len(texts), len(labels)), dtype=np.float32)
    with torch.inference_mode():
        for rows in by_token_budget(tokens.lengths, token_budget(params.label, device)):
            logits[rows] = model(**collate(tokenizer, tokens, rows, device).inputs).logits.float().cpu().numpy()
            progress(len(rows))
    return softmax(logits)


def student_measures(
    probs: NDArray[np.floating], gold: NDArray[np.intp], vocabulary: Vocabulary, teachers: Sequence[str]
) -> dict[str, Any]:
    """What a student is worth on labelled texts.

    Args:
        probs: `[rows, union]`.
        gold: `[rows]`, the right column.
        vocabulary: The union, and who knows which label.
        teachers: Their names, in the vocabulary's order.
    """
    predicted = probs.argmax(axis=1)
    blocks = vocabulary.known[gold]
    return {
        "accuracy": metrics.accuracy(predicted, gold),
        "macro_f1": metrics.macro_f1(predicted, gold, len(vocabulary.labels)),
        "expected_calibration_error": metrics.expected_calibration_error(probs, gold),
        "block_accuracy": {
            name: metrics.accuracy(predicted[blocks[:, number]], gold[blocks[:, number]])
            for number, name in enumerate(teachers)
            if blocks[:, number].any()
        },
    }
