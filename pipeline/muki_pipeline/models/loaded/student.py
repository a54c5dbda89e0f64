"""A trained student: loaded with checks, and asked about texts."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax
from transformers import AutoModelForSequenceClassification, PreTrainedModel, PreTrainedTokenizerBase

from muki_pipeline.errors import MukiError, refusing
from muki_pipeline.layout import MAKE_STUDENT
from muki_pipeline.models.batching import by_token_budget, collate, tokenise
from muki_pipeline.models.devices import auto_token_budget, choose_device
from muki_pipeline.models.students import StudentFiles, find_student
from muki_pipeline.models.tokenizers import ANY_LENGTH, align_padding, load_tokenizer, longest_input
from muki_pipeline.progress import SILENT, Progress, Task


@dataclass(frozen=True)
class LoadedStudent:
    """A student that is ready to answer.

    Attributes:
        model: Its network, in float32 and `eval()`.
        tokenizer: Its tokenizer.
        max_length: Longest text in tokens; what it was trained at, unless asked otherwise.
        device: Where it runs.
        files: What it was loaded from.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    max_length: int
    device: torch.device
    files: StudentFiles

    @property
    def labels(self) -> tuple[str, ...]:
        """Its label names, in the order of its outputs."""
        return self.files.labels

    @property
    def key(self) -> str:
        """SHA-256 of everything that determines an answer, except for the text."""
        return self.files.key(self.max_length)

    def probs(self, texts: list[str], progress: Progress = SILENT) -> NDArray[np.float32]:
        """Probabilities `[texts, labels]`; see `logits`."""
        return probabilities(self.logits(texts, progress.begin("student", len(texts), "texts")))

    @torch.inference_mode()
    def logits(self, texts: list[str], task: Task = SILENT) -> NDArray[np.float32]:
        """Logits `[texts, labels]`; a longer text is cut to `max_length` tokens.

        Args:
            texts: The texts.
            task: Counts the texts that went through the network.
        """
        logits = np.empty((len(texts), len(self.labels)), dtype=np.float32)
        if not texts:
            return logits
        tokens = tokenise(self.tokenizer, texts, self.max_length)
        for rows in by_token_budget(tokens.lengths, auto_token_budget(self.device)):
            inputs = collate(tokens, rows, self.model.config.pad_token_id, self.device).inputs
            logits[rows] = self.model(**inputs).logits.float().cpu().numpy()
            task.advance(len(rows))
        return logits


def probabilities(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """A student's probabilities `[texts, labels]` from its logits."""
    return np.asarray(softmax(logits.astype(np.float64), axis=-1), dtype=np.float32)


def load_student(folder: Path, device: str = "auto", max_length: int | None = None) -> LoadedStudent:
    """Load a student's folder.

    Args:
        folder: Where `train-student` saved it.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        max_length: Longest text in tokens; by default the one that it was trained at, which its tokenizer knows.

    Raises:
        MukiError: See `find_student`; its files cannot be loaded.
    """
    files = find_student(folder)
    key = files.key(0)  # digested before anything is read
    with refusing("cannot be loaded", where=str(folder), fix=MAKE_STUDENT):
        model = AutoModelForSequenceClassification.from_pretrained(folder, use_safetensors=True, dtype=torch.float32)
    tokenizer = load_tokenizer(folder, str(folder))
    align_padding(model, tokenizer)
    length = max_length or longest_input(model, tokenizer) or ANY_LENGTH
    chosen = choose_device(device)
    if find_student(folder).key(0) != key:
        raise MukiError("was replaced while it was read", where=str(folder), fix="Run the command again")
    return LoadedStudent(model.eval().to(chosen), tokenizer, length, chosen, files)
