"""The files of the pretrained model that a training starts from: what its key holds of them needs no network."""

from pathlib import Path

from muki_pipeline.config import Training
from muki_pipeline.models import locations
from muki_pipeline.models.checks.folder_kinds import check_model_folder
from muki_pipeline.models.model_config import read_model_config


def base_folder(settings: Training, root: Path) -> Path:
    """Where they lie.

    Raises:
        MukiError: No such model, or no folder of one.
    """
    folder = locations.model_folder(settings.model, root, revision=settings.revision)
    check_model_folder(folder, settings.model)
    return folder


def base_digest(settings: Training, root: Path) -> str:
    """SHA-256 over the files of the pretrained model that a classifier is trained from.

    Raises:
        MukiError: No such model.
    """
    folder = base_folder(settings, root)
    return locations.model_digest(folder, locations.model_files(folder))


def base_bytes(settings: Training, root: Path) -> int:
    """Size of the weights that a classifier is trained from.

    Raises:
        MukiError: No such model.
    """
    return sum(path.stat().st_size for path in base_folder(settings, root).glob("*.safetensors"))


def named_labels(settings: Training, root: Path) -> dict[str, int]:
    """The labels that the pretrained model already tells apart, and the row of its head that each has."""
    named = read_model_config(base_folder(settings, root) / "config.json").id2label
    return {str(label): number for number, label in named.items() if label != f"LABEL_{number}"}
