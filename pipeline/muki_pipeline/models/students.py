"""A trained student on the disk: found and checked, with the key of its answers. Nothing is loaded."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from muki_pipeline.config import StudentSettings
from muki_pipeline.errors import MukiError
from muki_pipeline.layout import MAKE_STUDENT, TRAINING, open_golden
from muki_pipeline.models.model_config import read_model_config
from muki_pipeline.store import files, folders
from muki_pipeline.store.keys import canonical_key, files_digest
from muki_pipeline.store.store import Shard

_NOT_OF_THE_STUDENT = {"card_examples", "precision"}
"""Its card shows the examples; `precision: auto` stands for what a machine multiplies fastest."""


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
        kept = (path for path in self.folder.iterdir() if path.suffix in (".json", ".safetensors"))
        return files_digest(sorted(path for path in kept if path.name not in (TRAINING, folders.SEAL)))

    def key(self, max_length: int) -> str:
        """SHA-256 of everything that determines an answer, except for the text.

        Args:
            max_length: Tokens from which a text is cut.
        """
        return canonical_key({"student": self._digest, "max_length": max_length})

    @cached_property
    def training(self) -> dict[str, Any]:
        """What the training told: `golden` (see `supervision_digest`) and `settings`; an older version told neither."""
        path = self.folder / TRAINING
        return dict(files.read_json(path, MAKE_STUDENT)) if files.exists(path) else {}

    def check_taught(self, golden: Path) -> None:
        """Hold the student against a golden table.

        Raises:
            MukiError: It learned from another one, or there is none.
        """
        due = supervision_digest(open_golden(golden).shards)
        if self.training.get("golden", due) != due:
            raise MukiError("was trained from another golden table", where=str(self.folder), fix=MAKE_STUDENT)

    def check_settings(self, settings: StudentSettings) -> None:
        """Hold the student against the settings as they are now; the examples on its card are no matter.

        Raises:
            MukiError: It was trained with others.
        """
        now, trained = settings.model_dump(exclude=_NOT_OF_THE_STUDENT), self.training.get("settings", {})
        if changed := [name for name, value in now.items() if trained.get(name, value) != value]:
            what = f"was trained with another {', '.join(f'student.{name}' for name in changed)} than params.yaml's"
            raise MukiError(what, where=str(self.folder), fix=MAKE_STUDENT)


def supervision_digest(shards: Sequence[Shard]) -> str:
    """SHA-256 of a golden table's content, by its shards."""
    return canonical_key({"golden": [shard.sha256 for shard in shards]})


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
        raise MukiError(what, where=str(folder), fix=f"{MAKE_STUDENT}, which moves it away")
    config = read_model_config(folder / "config.json")
    # Without id2label a config stands for transformers' default: two outputs, LABEL_0 and LABEL_1.
    count = len(config.id2label) or config.num_labels or 2
    return StudentFiles(folder, tuple(str(config.id2label.get(number, f"LABEL_{number}")) for number in range(count)))
