"""SetFit folders: a sentence encoder, and a head of scikit-learn that reads its embeddings."""

from pathlib import Path

from muki_pipeline.blocks import Teacher
from muki_pipeline.errors import MukiError
from muki_pipeline.models import locations
from muki_pipeline.store.files import exists, read_json

HEAD, CONFIG = "model_head.pkl", "config_setfit.json"


def is_setfit(folder: Path) -> bool:
    """Whether a folder holds a SetFit model."""
    return exists(folder / HEAD)


def labels(folder: Path, settings: Teacher, where: str) -> tuple[str, ...]:
    """The names of its labels; which output is whose, the head knows.

    Raises:
        MukiError: It may not be loaded, or nobody has named its labels.
    """
    name = where.removeprefix("teacher ")
    if not settings.allow_pickle_weights:
        what = f"is a SetFit model, whose head is pickled ({HEAD}): loading it can run code"
        fix = f"If you trust its author: init --set {name}.allow_pickle_weights=true, or so in params.yaml"
        raise MukiError(what, where=where, fix=fix)
    if not exists(folder / locations.MODULES):
        what = f"is a SetFit model without {locations.MODULES}, so nobody knows how it reads a text"
        raise MukiError(what, where=where, fix="Save it again with SetFitModel.save_pretrained")
    named = settings.labels
    if named is None and exists(folder / CONFIG):
        stored = read_json(folder / CONFIG, "Save the SetFit model again").get("labels")
        named = [str(label) for label in stored] if isinstance(stored, list) else None
    if named is None:
        what = f"is a SetFit model that does not name its labels in {CONFIG}"
        fix = f"Give them in the order of their numbers: init --labels {name}=first,second, or teachers.{name}.labels"
        raise MukiError(what, where=where, fix=fix)
    return tuple(named)


def normalises(folder: Path) -> bool:
    """Whether embeddings are made of length 1 before the head reads them."""
    return exists(folder / CONFIG) and bool(read_json(folder / CONFIG, "").get("normalize_embeddings"))
