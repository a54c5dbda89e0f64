"""Load a classifier safely, fingerprint it, read its label names."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from pipeline import references
from pipeline.config import Teacher
from pipeline.dropout import dropout_settings
from pipeline.errors import MukiError, first

_SAFE_WEIGHTS = ("model*.safetensors", "model.safetensors.index.json")
_PICKLED_WEIGHTS = ("pytorch_model*.bin", "pytorch_model.bin.index.json")
_TEXT = (
    "config.json",
    "tokenizer*",
    "vocab.*",
    "merges.txt",
    "*.model",
    "special_tokens_map.json",
    "added_tokens.json",
)
_CODE = ("*.py",)


@dataclass(frozen=True)
class TeacherFiles:
    """A teacher on the disk, checked and fingerprinted but not loaded.

    Attributes:
        name: Its name in params.yaml.
        folder: Where its files lie.
        labels: Its label names in the order of its logits.
        digest: SHA-256 over the names and contents of the files that are loaded: weights, config, tokenizer.
        settings: Its block of params.yaml.
    """

    name: str
    folder: Path
    labels: tuple[str, ...]
    digest: str
    settings: Teacher


def locate(name: str, settings: Teacher, root: Path) -> TeacherFiles:
    """Find a teacher, refuse what must not be loaded, read its labels and fingerprint its files.

    Raises:
        MukiError: No such model; weights that are not safetensors or code of its own without the opt-in; a config that
            is no single-label classifier's; label names that are missing, made up, too few or not unique.
    """
    where = f"teacher {name}"
    weights = _SAFE_WEIGHTS + (_PICKLED_WEIGHTS if settings.allow_pickle_weights else ())
    patterns = weights + _TEXT + (_CODE if settings.trust_remote_code else ())
    _check_watch(where, settings, root)
    folder = references.model_folder(settings.model, root, revision=settings.revision, patterns=patterns)
    files = references.matching(folder, patterns)
    if not any(path.name.endswith((".safetensors", ".bin")) for path in files):
        raise MukiError(
            f"no weights in safetensors in {folder}",
            where=where,
            fix=f"Convert them, or set teachers.{name}.allow_pickle_weights: true if you trust who made them",
        )
    config = _json(folder / "config.json", where)
    tokenizer = folder / "tokenizer_config.json"
    if not settings.trust_remote_code and (
        "auto_map" in config or (tokenizer.exists() and "auto_map" in _json(tokenizer, where))
    ):
        raise MukiError(
            "its files ask to run code of their own (auto_map)",
            where=where,
            fix=f"Set teachers.{name}.trust_remote_code: true if you trust who wrote it",
        )
    if config.get("problem_type") not in (None, "single_label_classification"):
        raise MukiError(
            f"it is trained for {config['problem_type']}; only one label a text can be integrated",
            where=where,
            fix="Use a single-label classifier",
        )
    return TeacherFiles(name, folder, _labels(where, config, settings), references.digest(files), settings)


def _check_watch(where: str, settings: Teacher, root: Path) -> None:
    """DVC sees a teacher change only through `watch`, so it must be the folder itself, or a pinned id's settings."""
    if settings.model.startswith(references.PACKAGE):
        return
    path = references.local(settings.model, root)
    if path is not None and (root / settings.watch).resolve() != path.resolve():
        raise MukiError(
            f"watch is {settings.watch}, not its folder {settings.model}: DVC would not see its files change",
            where=where,
            fix="Set watch to the same path as model",
        )
    if path is None and settings.revision is None and not references.looks_like_path(settings.model):
        raise MukiError(
            f"{settings.model} is no folder, and as a hub id it is not pinned: what it names may change unseen",
            where=where,
            fix="Correct the path, or set revision to a commit of the model's repository",
        )


def _json(path: Path, where: str) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise MukiError(f"there is no {path}", where=where, fix="Name a folder saved by save_pretrained") from None
    except ValueError as error:
        raise MukiError(f"{path} is no JSON ({error})", where=where, fix="Save the model again") from None
    return content


def _labels(where: str, config: dict[str, Any], settings: Teacher) -> tuple[str, ...]:
    named = config.get("id2label") or {}
    # Without id2label a config stands for transformers' default: two outputs, LABEL_0 and LABEL_1.
    count = len(named) or config.get("num_labels") or 2
    made_up = [f"LABEL_{number}" for number in range(count)]
    if count < 2:
        raise MukiError("it knows one label: there is nothing to choose from", where=where, fix="Leave it out")
    if settings.labels is not None:
        labels = tuple(settings.labels)
        if len(labels) != count:
            raise MukiError(
                f"labels gives {len(labels)} names, the model has {count} outputs",
                where=where,
                fix="Give one name for each output, in their order",
            )
    elif set(named.values()) <= set(made_up):
        raise MukiError(
            f"its config does not name its {count} labels, it has only {first(made_up)}",
            where=where,
            fix="Give them in params.yaml as its labels: [first, second, ...], in the order of its outputs",
        )
    else:
        labels = tuple(str(named[str(number)]) for number in range(count))
    if twice := sorted({label for label in labels if labels.count(label) > 1}):
        raise MukiError(f"labels occur more than once: {first(twice)}", where=where, fix="Give distinct labels")
    return labels


def load(files: TeacherFiles, max_length: int, device: torch.device) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a located teacher in float32 and `eval()`, with its own tokenizer.

    Raises:
        MukiError: Its files do not make up a classifier with these labels, or it cannot read `max_length` tokens.
    """
    where, settings = f"teacher {files.name}", files.settings
    trust = settings.trust_remote_code
    try:
        config = AutoConfig.from_pretrained(files.folder, trust_remote_code=trust)
        if settings.dropout is not None:
            for field in dropout_settings(config):
                setattr(config, field, settings.dropout)
        tokenizer = AutoTokenizer.from_pretrained(files.folder, trust_remote_code=trust)
        model, report = AutoModelForSequenceClassification.from_pretrained(
            files.folder,
            config=config,
            trust_remote_code=trust,
            use_safetensors=None if settings.allow_pickle_weights else True,
            dtype=torch.float32,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise MukiError(
            f"cannot be loaded from {files.folder} ({' '.join(str(error).split())[:300]})",
            where=where,
            fix="Name a folder or hub id that AutoModelForSequenceClassification loads",
        ) from None
    if report["missing_keys"]:
        raise MukiError(
            f"its weights lack {first(sorted(report['missing_keys']))}: it is no fine-tuned classifier",
            where=where,
            fix="Name the fine-tuned model, not the one that it was trained from",
        )
    outputs = model.config.num_labels
    if outputs != len(files.labels):
        raise MukiError(
            f"{len(files.labels)} labels are named, the model has {outputs} outputs",
            where=where,
            fix="Give one name for each output, in their order",
        )
    if (limit := _longest(model, tokenizer)) < max_length:
        raise MukiError(
            f"it reads at most {limit} tokens and label.max_length is {max_length}",
            where=where,
            fix=f"Set label.max_length to {limit} or less",
        )
    if model.config.pad_token_id is None:
        model.config.pad_token_id = tokenizer.pad_token_id
    return model.eval().to(device), tokenizer


def _longest(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int:
    """Longest input in tokens: the least of what the tokenizer and the table of positions allow."""
    limits = [int(tokenizer.model_max_length)]
    for name, module in model.named_modules():
        if isinstance(module, nn.Embedding) and name.endswith("position_embeddings"):
            # RoBERTa and its kin count positions from behind the padding index.
            limits.append(module.num_embeddings - (0 if module.padding_idx is None else module.padding_idx + 1))
    return min(limits)
