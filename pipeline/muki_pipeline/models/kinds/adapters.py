"""Adapters (LoRA and its kin): a folder of few weights that change a base model, which lies elsewhere."""

from pathlib import Path
from typing import Any

from muki_pipeline.blocks import Teacher
from muki_pipeline.errors import MukiError, needs_package
from muki_pipeline.models import locations
from muki_pipeline.models.checks.folder_kinds import check_model_folder
from muki_pipeline.store.files import exists, read_json

CONFIG = "adapter_config.json"
_WEIGHTS, _PICKLED = "adapter_model.safetensors", "adapter_model.bin"
_INTO_INPUTS = ("PROMPT_TUNING", "MULTITASK_PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING", "ADAPTION_PROMPT", "CPT")
"""Kinds that add inputs or attention: they cannot be merged into a network's weights."""
_SAVE_AGAIN = "Save the adapter again with save_pretrained"


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter."""
    return exists(folder / CONFIG)


def weights(folder: Path) -> Path:
    """The file of an adapter's weights that PEFT reads: the pickled one only where there is no other."""
    return folder / (_WEIGHTS if exists(folder / _WEIGHTS) else _PICKLED)


def base_reference(folder: Path, settings: Teacher) -> str:
    """The base model of an adapter: as the settings name it, else as its own config does; `ID@COMMIT` on the hub.

    Raises:
        MukiError: Neither names one, or the config is damaged.
    """
    if settings.base is not None:
        return settings.base
    content = _config(folder)
    name, revision = content.get("base_model_name_or_path"), content.get("revision")
    if not isinstance(name, str) or not name:
        fix = "Name the model that it was trained on: init --set NAME.base=FOLDER, or teachers.NAME.base"
        raise MukiError("is an adapter that does not name its base model", where=str(folder), fix=fix)
    return f"{name}@{revision}" if isinstance(revision, str) and revision else name


def base_folder(folder: Path, settings: Teacher, root: Path, where: str) -> Path:
    """The folder of an adapter's base model.

    Args:
        folder: The adapter's.
        settings: The teacher's block of params.yaml.
        root: What a relative path is relative to.
        where: Named in errors.

    Raises:
        MukiError: PEFT is not installed; the adapter cannot be merged or has no weights that may be loaded; there is no
            such base model, or on the hub it is not pinned.
    """
    needs_package("peft", "adapters", where)
    if (kind := str(_config(folder).get("peft_type"))) in _INTO_INPUTS:
        what = f"is an adapter of the kind {kind}, which cannot be merged into its base model"
        raise MukiError(what, where=where, fix="Store its answers in a file instead: teachers.NAME.answers")
    reference = base_reference(folder, settings)
    file = weights(folder)
    if not exists(file) or (file.name == _PICKLED and not settings.allow_pickle_weights):
        what = f"is an adapter without {_WEIGHTS}"
        raise MukiError(what, where=where, fix=f"{_SAVE_AGAIN}, in safetensors")
    model, revision = reference, ""
    if locations.local(reference, root) is None:
        model, _, revision = reference.partition("@")
    is_here = model.startswith(locations.PACKAGE) or locations.local(model, root) is not None
    if not is_here and (locations.looks_like_path(model) or not revision):
        what = f"is an adapter of {model}, which is no folder here, and as a hub id it is not pinned"
        fix = "Name its folder, or ID@COMMIT: init --set NAME.base=FOLDER, or teachers.NAME.base"
        raise MukiError(what, where=where, fix=fix)
    base = locations.model_folder(model, root, revision=revision or None)
    check_model_folder(base, f"{where}, base {model}")
    return base


def _config(folder: Path) -> dict[str, Any]:
    return read_json(folder / CONFIG, _SAVE_AGAIN)
