"""The student as an ONNX model: head, label names and tokenizer in one folder that ONNX Runtime alone can use."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from muki_pipeline.errors import MukiError
from muki_pipeline.models.batching import by_token_budget, collate, tokenise
from muki_pipeline.models.loaded.student import LoadedStudent
from muki_pipeline.routing.confidence import softmax
from muki_pipeline.store import files, folders

MODEL, SMALL_MODEL = "model.onnx", "model_int8.onnx"
TOLERANCE = 1e-4
"""How far a probability may be from the student's."""
_TOKENS = 2048
_FACTS = "labels.json"
_PACKAGES = "torch.onnx._internal.exporter._registration"
"""The logger that tells which packages for images are not installed."""


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        texts: Texts on which it was held against the student.
        difference: Largest difference of a probability.
        agreement: Share of texts with the same best label; of the small model if there is one.
        predicted: `[texts]`, the best label of the exported model, of the small one if there is one.
    """

    texts: int
    difference: float
    agreement: float
    predicted: NDArray[np.intp]


class Logits(nn.Module):
    """The student with its inputs in a fixed order and its logits alone."""

    def __init__(self, model: nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *inputs: Tensor) -> Tensor:
        """Logits `[texts, labels]`."""
        logits: Tensor = self.model(**dict(zip(self.names, inputs, strict=True))).logits
        return logits


def export_onnx(student: LoadedStudent, target: Path, texts: list[str], int8: bool = False) -> Exported:
    """Write the student to a folder as ONNX, and hold it against the student on some texts.

    Args:
        student: The student, on the CPU.
        target: A new folder or an earlier export, replaced once everything is written and checked: `model.onnx`;
            with `int8` also `model_int8.onnx` (weights in 8 bits), the tokenizer, `config.json` with the label names.
        texts: Texts to check with.
        int8: Write the small model too.

    Raises:
        MukiError: The packages of the extra `onnx` are missing; the folder holds something else; a probability
            differs by more than 1e-4.
    """
    try:
        quantization = import_module("onnxruntime.quantization")
        import_module("onnxscript")  # torch's exporter needs it
    except ImportError as error:
        raise MukiError(
            f"needs a package that is not installed ({error.name})",
            where="export --onnx",
            fix="Install the extra: pip install 'muki-pipeline[onnx]'",
        ) from None
    folders.check_replaceable(target, _FACTS, "what an export left")
    expected = softmax(student.logits(texts))
    with folders.replacing_folder(target) as unfinished:
        _export(student, unfinished / MODEL)
        found = softmax(run_onnx(unfinished / MODEL, student, texts))
        difference = float(np.abs(found - expected).max())
        if difference > TOLERANCE:
            raise MukiError(
                f"a probability differs by {difference:.2g} from the student's",
                where=str(target),
                fix="Use the student itself: this architecture does not survive the export",
            )
        if int8:
            with _quiet():  # onnxruntime gives advice for other models to the root logger
                # A scale for each row of weights: the same best label for 99.2 % of texts, with one for all 97.6 %.
                quantization.quantize_dynamic(unfinished / MODEL, unfinished / SMALL_MODEL, per_channel=True)
            found = softmax(run_onnx(unfinished / SMALL_MODEL, student, texts))
        student.tokenizer.save_pretrained(str(unfinished))
        student.model.config.save_pretrained(str(unfinished))
        files.write_json(unfinished / _FACTS, {"labels": list(student.labels), "max_length": student.max_length})
    best = found.argmax(axis=1)
    return Exported(len(texts), difference, float((best == expected.argmax(axis=1)).mean()), best)


@contextmanager
def _quiet(name: str | None = None) -> Iterator[None]:
    """Inside, a logger says errors alone."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _export(student: LoadedStudent, path: Path) -> None:
    """Any number of texts of any length; two different texts of several tokens, so that no axis is taken for fixed."""
    tokens = tokenise(student.tokenizer, ["two texts", "of which this one is the longer"], student.max_length)
    inputs = collate(tokens, np.arange(2), student.model.config.pad_token_id, torch.device("cpu")).inputs
    axes = {0: torch.export.Dim("texts"), 1: torch.export.Dim("tokens")}
    with _quiet(_PACKAGES), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # notes to the exporter's own developers
        torch.onnx.export(
            Logits(student.model, list(inputs)),
            tuple(inputs.values()),
            str(path),
            input_names=list(inputs),
            output_names=["logits"],
            dynamic_shapes=(tuple(axes for _ in inputs),),
            dynamo=True,
            external_data=False,
            verbose=False,
        )


def run_onnx(path: Path, student: LoadedStudent, texts: list[str]) -> NDArray[np.float32]:
    """Logits `[texts, labels]` of an exported model by ONNX Runtime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    wanted = [each.name for each in session.get_inputs()]
    tokens = tokenise(student.tokenizer, texts, student.max_length)
    logits = np.empty((len(texts), len(student.labels)), dtype=np.float32)
    for rows in by_token_budget(tokens.lengths, _TOKENS):
        batch = collate(tokens, rows, student.model.config.pad_token_id, torch.device("cpu")).inputs
        [logits[rows]] = session.run(["logits"], {name: batch[name].numpy() for name in wanted})
    return logits
