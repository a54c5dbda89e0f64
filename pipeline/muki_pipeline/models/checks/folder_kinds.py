"""Folders that are no model of ours, recognised by what is in them: each with what it is, and what to do about it."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from muki_pipeline.errors import MukiError, shortlist
from muki_pipeline.models import locations
from muki_pipeline.store.files import read_bytes

WRAPPERS = ("module.", "_orig_mod.")
"""What DataParallel and torch.compile put before the names of weights."""
UNWRAP = (
    "Save the weights without it: state = {name.removeprefix(PREFIX): weights for name, weights in "
    "load_file(FILE).items()}; save_file(state, FILE, metadata={'format': 'pt'}), both from safetensors.torch"
)
_HEAD = "ForSequenceClassification"


class ModelFolder:
    """What is in a folder, as far as it tells what the folder is.

    Attributes:
        path: The folder.
        pickles: Whether pickled weights may be loaded.
        names: Names of the files and folders in it, hidden ones left out.
    """

    def __init__(self, path: Path, *, pickles: bool = False) -> None:
        self.path, self.pickles = path, pickles
        self.names = sorted(each.name for each in path.iterdir() if not each.name.startswith("."))

    def matching(self, *patterns: str) -> list[str]:
        """The names that match one of the patterns."""
        return [name for name in self.names if any(fnmatch(name, pattern) for pattern in patterns)]

    @cached_property
    def config(self) -> dict[str, Any]:
        """The object in config.json; empty where there is none that can be read, which others complain of."""
        return self.read("config.json")

    def read(self, name: str) -> dict[str, Any]:
        """The object in a JSON file of the folder; empty where there is none."""
        if name not in self.names or not (self.path / name).is_file():
            return {}
        try:
            content = json.loads(read_bytes(self.path / name, ""))
        except ValueError:
            return {}
        return content if isinstance(content, dict) else {}

    @property
    def has_weights(self) -> bool:
        """Whether there are weights that may be loaded."""
        return bool(self.matching("*.safetensors", *(("pytorch_model*.bin",) if self.pickles else ())))

    @cached_property
    def checkpoints(self) -> list[str]:
        """Folders that a Trainer saved, the newest last."""
        steps = {name: re.fullmatch(r"checkpoint-(\d+)", name) for name in self.names}
        return sorted((name for name, step in steps.items() if step), key=lambda name: int(name.rpartition("-")[2]))

    @cached_property
    def inner(self) -> list[str]:
        """Folders within that hold a model."""
        return [name for name in self.names if (self.path / name / "config.json").is_file()]

    @cached_property
    def wrapper(self) -> str | None:
        """The prefix that every weight has and none should have."""
        names: list[str] = []
        for file in self.matching("*.safetensors"):
            if (self.path / file).is_file():
                try:
                    # Only names are read: with "pt" it would import torch.
                    with safe_open(self.path / file, "np") as weights:
                        names += weights.keys()
                except (SafetensorError, OSError):  # loading it says why
                    return None
        return wrapper_of(names)

    @property
    def architectures(self) -> list[str]:
        """The classes that config.json says the weights were saved from."""
        named = self.config.get("architectures")
        return [name for name in named if isinstance(name, str)] if isinstance(named, list) else []

    @property
    def is_classifier(self) -> bool:
        """Whether config.json says so, or does not say anything else."""
        own = self.config.get("auto_map")
        is_own = isinstance(own, dict) and f"AutoModel{_HEAD}" in own
        return is_own or not self.architectures or any(name.endswith(_HEAD) for name in self.architectures)


def wrapper_of(names: Sequence[str]) -> str | None:
    """The prefix of a wrapper that all of these weights have, if there is one."""
    return next((prefix for prefix in WRAPPERS if names and all(name.startswith(prefix) for name in names)), None)


@dataclass(frozen=True)
class _Kind:
    """A kind of folder that cannot be used.

    Attributes:
        detail: What of the folder shows that it is of this kind, for the message; None where it is not.
        what: What the folder is, with the detail in place of `{}`.
        fix: What to do, with the detail in place of `{}`.
    """

    detail: Callable[[ModelFolder], str | None]
    what: str
    fix: str


def _named(*patterns: str, but: Callable[[ModelFolder], bool] = lambda folder: False) -> Any:
    """Recognises a folder by names of files in it."""

    def detail(folder: ModelFolder) -> str | None:
        found = folder.matching(*patterns)
        return shortlist(found) if found and not but(folder) else None

    return detail


def _adapter(folder: ModelFolder) -> str | None:
    if "adapter_config.json" not in folder.names:
        return None
    return str(folder.read("adapter_config.json").get("base_model_name_or_path") or "an unnamed model")


def _newest_checkpoint(folder: ModelFolder) -> str | None:
    return str(folder.path / folder.checkpoints[-1]) if folder.checkpoints and not _has_any_weights(folder) else None


def _model_within(folder: ModelFolder) -> str | None:
    is_one = folder.inner and "config.json" not in folder.names and not _has_any_weights(folder)
    return str(folder.path / folder.inner[0]) if is_one else None


def _has_any_weights(folder: ModelFolder) -> bool:
    return folder.has_weights or bool(folder.matching("*.bin"))


def _sentence_encoder(folder: ModelFolder) -> str | None:
    return shortlist(folder.architectures) if locations.MODULES in folder.names and not folder.is_classifier else None


def _without_head(folder: ModelFolder) -> str | None:
    is_bare = not folder.is_classifier and all(name.endswith("Model") for name in folder.architectures)
    return shortlist(folder.architectures) if is_bare else None


def _other_task(folder: ModelFolder) -> str | None:
    return None if folder.is_classifier else shortlist(folder.architectures)


_NO_MODEL = (
    _Kind(lambda folder: None if folder.names else "", "is an empty folder", "Save or copy the model into it"),
    _Kind(
        _adapter,
        "is a LoRA or other PEFT adapter of {}, not a whole model",
        "Merge it: AutoPeftModelForSequenceClassification.from_pretrained(FOLDER).merge_and_unload()"
        ".save_pretrained(NEW), save the tokenizer into NEW too, and name NEW",
    ),
    _Kind(_newest_checkpoint, "has no model of its own, only checkpoints of a training", "Name the newest of them, {}"),
    _Kind(_model_within, "is no model, but a folder with models in it", "Name one of them, say {}"),
)
_OTHER_WEIGHTS = (
    _Kind(
        _named("*.onnx", "onnx", but=_has_any_weights),
        "holds an ONNX export ({}), which has no dropout to sample and cannot be trained",
        "Name the PyTorch model that it was exported from; muki-pipeline export makes ONNX of the student again",
    ),
    _Kind(
        _named("tf_model*.h5", "*.msgpack", "saved_model.pb", "model.ckpt*", but=_has_any_weights),
        "holds weights for TensorFlow or Flax ({}), not for PyTorch",
        "Convert them in an environment with transformers 4 and TensorFlow or Flax: "
        "AutoModelForSequenceClassification.from_pretrained(FOLDER, from_tf=True).save_pretrained(NEW), or from_flax",
    ),
    _Kind(
        _named("*.gguf", "*.tflite", "*.mlmodel", "*.mlpackage", "openvino*", but=_has_any_weights),
        "holds an export for another runtime ({}), not a PyTorch model",
        "Name the PyTorch model that it was made from",
    ),
    _Kind(
        _named("*.pt", "*.pth", "*.ckpt", but=_has_any_weights),
        "holds no weights in safetensors, only files of another program ({})",
        "Load them into the model that they belong to, and save it with save_pretrained",
    ),
)
_WRAPPED = _Kind(lambda folder: folder.wrapper, "holds weights that were saved with a wrapper's prefix, {}", UNWRAP)
_NO_CONFIG = _Kind(
    lambda folder: "" if _has_any_weights(folder) and "config.json" not in folder.names else None,
    "holds weights, but no config.json",
    "Save the model with save_pretrained, which writes both",
)
_NO_CLASSIFIER = (
    _Kind(
        _sentence_encoder,
        "is a sentence encoder ({}) without a classifier's head",
        "Fine-tune it with AutoModelForSequenceClassification, or name it as embed.model",
    ),
    _Kind(
        _without_head,
        "is a pretrained model ({}) without a classifier's head: it is not a fine-tuned classifier",
        "Name the fine-tuned model, not the one that it started from",
    ),
    _Kind(
        _other_task,
        "is a model for another task ({}), not a text classifier",
        "Name a model that was trained and saved with AutoModelForSequenceClassification",
    ),
)


def check_classifier_folder(path: Path, where: str, *, pickles: bool, allow_pickles: str) -> None:
    """Refuse a folder that is no text classifier.

    Args:
        path: The folder.
        where: Named in errors.
        pickles: Whether pickled weights may be loaded.
        allow_pickles: The setting that allows them.

    Raises:
        MukiError: It is something else; the message says what, and what to do.
    """
    no_weights = _no_weights(
        path,
        f"Load it with transformers and save_pretrained it again, or set {allow_pickles}: true if you trust its author",
    )
    kinds = (*_NO_MODEL, *_OTHER_WEIGHTS, *no_weights, _NO_CONFIG, _WRAPPED, *_NO_CLASSIFIER)
    _refuse(ModelFolder(path, pickles=pickles), where, kinds)


def check_model_folder(path: Path, where: str) -> None:
    """Refuse a folder that is no pretrained model, whatever its head.

    Raises:
        MukiError: It is something else; the message says what, and what to do.
    """
    no_weights = _no_weights(path, "Load the model with transformers and save it with save_pretrained")
    _refuse(ModelFolder(path), where, (*_NO_MODEL, *_OTHER_WEIGHTS, *no_weights, _NO_CONFIG, _WRAPPED))


def _no_weights(path: Path, fix: str) -> tuple[_Kind, ...]:
    pickled = _named("*.bin", but=lambda folder: folder.has_weights)
    return (
        _Kind(pickled, f"no weights in safetensors in {path}, only pickled ones ({{}})", fix),
        _Kind(lambda folder: None if folder.has_weights else "", f"no weights in safetensors in {path}", fix),
    )


def _refuse(folder: ModelFolder, where: str, kinds: Sequence[_Kind]) -> None:
    for kind in kinds:
        if (detail := kind.detail(folder)) is not None:
            what, fix = (part.replace("{}", detail) for part in (kind.what, kind.fix))
            raise MukiError(what, where=where, fix=fix)
