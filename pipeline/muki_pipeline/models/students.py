"""A trained student on the disk: found and checked, with the key of its answers. Nothing is loaded."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from muki_pipeline.errors import MukiError
from muki_pipeline.layout import MAKE_STUDENT
from muki_pipeline.models.model_config import read_model_config
from muki_pipeline.store import files, folders
from muki_pipeline.store.keys import canonical_key, files_digest


@dataclass(frozen=True)
class StudentFiles:
    """A student whose files are those that the training saved.

    Attributes:
        folder: Where they lie.
        labels: Its label names, in the order of its outputs.
    """

    folder: Path
    labels: tuple[str, ...]

    @cached_property
    def _digest(self) -> str:
        return files_digest(sorted(path for path in self.folder.iterdir() if path.suffix in (".json", ".safetensors")))

    def key(self, max_length: int) -> str:
        """SHA-256 of everything that determines an answer, except for the text.

        Args:
            max_length: Tokens from which a text is cut.
        """
        return canonical_key({"student": self._digest, "max_length": max_length})


def find_student(folder: Path) -> StudentFiles:
    """The student in a folder.

    Args:
        folder: Where `train-student` saved it.

    Raises:
        MukiError: There is no student, or its files are not those that were saved.
    """
    if not files.exists(folder / "config.json"):
        raise MukiError("there is no student", where=str(folder), fix=MAKE_STUDENT)
    if not folders.is_sealed(folder):
        what = "its files are not those that the training saved"
        raise MukiError(what, where=str(folder), fix=f"Remove it, then {MAKE_STUDENT[0].lower()}{MAKE_STUDENT[1:]}")
    config = read_model_config(folder / "config.json")
    # Without id2label a config stands for transformers' default: two outputs, LABEL_0 and LABEL_1.
    count = len(config.id2label) or config.num_labels or 2
    return StudentFiles(folder, tuple(str(config.id2label.get(number, f"LABEL_{number}")) for number in range(count)))
