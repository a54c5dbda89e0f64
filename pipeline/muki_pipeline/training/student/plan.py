"""What a student's training settles before it begins. It loads no network, so a finished student is found at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from muki_pipeline.config import StudentSettings
from muki_pipeline.store import schema
from muki_pipeline.store.keys import canonical_key
from muki_pipeline.store.store import Shard
from muki_pipeline.training.base_files import base_digest

_FEWEST_TEXTS, _MOST_STEPS, _FEWEST_EPOCHS = 24_000, 1_000, 3
"""Of `epochs: auto`. Many labels take many readings to learn, however few texts there are: so many in all, but no more
steps than that. A larger corpus is read three times."""
NOT_OF_THE_WEIGHTS = {"card_examples"}
"""Settings that change the card alone."""


@dataclass(frozen=True)
class Plan:
    """A student's training.

    Attributes:
        settings: With the arithmetic settled.
        facts: The golden table's manifest.
        key: See `training_key`.
        supervision: See `supervision_digest`.
        finished: The losses of the student that is there already, if one is.
        golden: Folder of the golden table.
        output: Folder of the student.
        work: Folder of tokens and checkpoints while the training lasts, under its key: no other training's are used.
        root: What a relative model path is relative to.
        name: What progress calls the training.
    """

    settings: StudentSettings
    facts: Mapping[str, Any]
    key: str
    supervision: str
    finished: dict[str, float] | None
    golden: Path
    output: Path
    work: Path
    root: Path
    name: str


def training_key(settings: StudentSettings, shards: Sequence[Shard], root: Path) -> str:
    """A digest of everything that determines a student.

    Args:
        settings: The student's training, with the arithmetic settled.
        shards: The golden table's.
        root: What a relative model path is relative to.

    Raises:
        MukiError: No such pretrained model.
    """
    return canonical_key(
        {
            "version": schema.STUDENT_VERSION,
            "golden": [shard.sha256 for shard in shards],
            "student": settings.model_dump(exclude=NOT_OF_THE_WEIGHTS),
            "base": base_digest(settings, root),
        }
    )


def epochs_of(settings: StudentSettings, texts: int) -> int:
    """How often the student reads so many texts: what `epochs: auto` stands for."""
    if settings.epochs != "auto":
        return settings.epochs
    steps = -(-texts // settings.batch_size)
    return max(min(-(-_FEWEST_TEXTS // texts), -(-_MOST_STEPS // steps)), _FEWEST_EPOCHS)
