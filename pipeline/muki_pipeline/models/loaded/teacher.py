"""A located teacher is loaded safely, with its own tokenizer."""

import warnings
from collections.abc import Mapping
from functools import reduce
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from muki_pipeline.errors import MukiError, refusing, shortlist
from muki_pipeline.models.checks.loaded_weights import check_unused_weights, new_weights
from muki_pipeline.models.kinds import setfit
from muki_pipeline.models.loaded.setfit import load_setfit
from muki_pipeline.models.teachers import TeacherFiles
from muki_pipeline.models.tokenizers import align_padding, check_length, load_tokenizer, structural_tokens
from muki_pipeline.store.files import exists


def load(files: TeacherFiles, max_length: int, device: torch.device) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a located teacher in float32 and `eval()`, with its own tokenizer.

    Raises:
        MukiError: Its files are not a classifier with these labels, or it cannot read `max_length` tokens.
    """
    where, settings = f"teacher {files.name}", files.settings
    if setfit.is_setfit(files.folder):
        tokenizer = load_tokenizer(files.folder, where)
        return _ready(load_setfit(files, tokenizer, settings.dropout), tokenizer, max_length, device, where), tokenizer
    trust = settings.trust_remote_code
    folder = files.base or files.folder
    has_own = files.base is None or exists(files.folder / "tokenizer_config.json")
    tokenizer = load_tokenizer(files.folder if has_own else folder, where, trust_remote_code=trust)
    with refusing(
        f"cannot be loaded from {files.folder}",
        where=where,
        fix="Name a folder or hub id that AutoModelForSequenceClassification loads",
    ):
        config = AutoConfig.from_pretrained(folder, trust_remote_code=trust)
        if config.num_labels != len(files.labels):  # transformers does not count the names in label2id
            config.id2label = dict(enumerate(files.labels))
        if settings.dropout is not None:
            _set_dropout(config, settings.dropout)
        model, report = AutoModelForSequenceClassification.from_pretrained(
            folder,
            config=config,
            trust_remote_code=trust,
            use_safetensors=None if settings.allow_pickle_weights else True,
            ignore_mismatched_sizes=files.base is not None,
            dtype=torch.float32,
            output_loading_info=True,
        )
    if files.base is not None:
        report = report | {"missing_keys": _without_adapter(report, files), "mismatched_keys": set()}
    check_unused_weights(model, report, where, "Correct config.json, or name a model saved by save_pretrained")
    if new := new_weights(report):
        raise MukiError(
            f"its weights lack {shortlist(new)}: it is not a fine-tuned classifier",
            where=where,
            fix="Name the fine-tuned model, not the pretrained model that it started from",
        )
    if files.base is not None:
        model = _merged(model, files)
    outputs = model.config.num_labels
    if outputs != len(files.labels):
        raise MukiError(
            f"{len(files.labels)} labels are named, the model has {outputs} outputs",
            where=where,
            fix="Give one name for each output, in their order",
        )
    return _ready(model, tokenizer, max_length, device, where), tokenizer


def _ready(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, max_length: int, device: torch.device, where: str
) -> PreTrainedModel:
    """A model that fits its tokenizer and reads texts of that length, in `eval()`.

    Raises:
        MukiError: It does not.
    """
    check_length(model, tokenizer, max_length, where, "label.max_length")
    align_padding(model, tokenizer)
    _check_vocabulary(model, tokenizer, where)
    ready: PreTrainedModel = model.eval().to(device)  # type: ignore[no-untyped-call]  # transformers leaves it unannotated
    return ready


def _merged(model: PreTrainedModel, files: TeacherFiles) -> PreTrainedModel:
    """A base model with its adapter's weights in its own, and the adapter's head."""
    from peft import PeftModel  # an extra

    fix = "Give teachers.NAME.labels, a name for each output of the adapter's head, and the base that it was trained on"
    with (
        warnings.catch_warnings(),
        refusing("its adapter does not fit the base model", where=f"teacher {files.name}", fix=fix),
    ):
        warnings.simplefilter("ignore", FutureWarning)  # transformers' about what PEFT calls
        merged: PreTrainedModel = PeftModel.from_pretrained(model, files.folder).merge_and_unload(safe_merge=True)
    return merged


def _without_adapter(report: Mapping[str, Any], files: TeacherFiles) -> set[str]:
    """Those weights that the base model lacks and that the adapter does not bring along."""
    from peft import load_peft_weights  # an extra

    with refusing("its adapter cannot be read", where=f"teacher {files.name}", fix="Save the adapter again"):
        weights = load_peft_weights(str(files.folder), device="cpu")  # pickled ones too, without running code
    return set(new_weights(report)) - {name.removeprefix("base_model.model.") for name in weights}


def dropout_settings(config: PretrainedConfig) -> dict[str, float | None]:
    """The dropout probabilities in a model's config, except for layer drop; None stands for "the same as another".

    Those of a config within, say the one of the part that reads texts, have its name before them.
    """
    own = {
        name: value
        for name, value in config.to_dict().items()
        if ("dropout" in name or name.endswith("pdrop")) and (value is None or type(value) in (int, float))
    }
    return own | {
        f"{part}.{name}": value
        for part, inner in _inner_configs(config).items()
        for name, value in dropout_settings(inner).items()
    }


def _inner_configs(config: PretrainedConfig) -> dict[str, PretrainedConfig]:
    inner = {name: getattr(config, name, None) for name in config.sub_configs}
    return {name: part for name, part in inner.items() if isinstance(part, PretrainedConfig)}


def _set_dropout(config: PretrainedConfig, p: float) -> None:
    for field in dropout_settings(config):
        *parts, name = field.split(".")
        setattr(reduce(getattr, parts, config), name, p)


def _check_vocabulary(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, where: str) -> None:
    """Every token that a text can have must have an embedding; structural ones count where the tokenizer adds them."""
    structural = structural_tokens(tokenizer)
    inner = (number for token, number in tokenizer.get_vocab().items() if token not in structural)
    highest = max(*inner, *tokenizer("a")["input_ids"])
    if (rows := _embedding_rows(model)) is not None and highest >= rows:
        raise MukiError(
            f"its tokenizer knows tokens up to number {highest:,}, but its weights have {rows:,} embeddings",
            where=where,
            fix="Save the tokenizer that belongs to the model into its folder",
        )


def _embedding_rows(model: PreTrainedModel) -> int | None:
    """Rows of the table of token embeddings; None for a network without one (CANINE hashes characters)."""
    try:
        table = model.get_input_embeddings()
    except NotImplementedError:  # transformers' answer for a network whose embeddings it cannot find
        return None
    weight = getattr(table, "weight", None)
    return len(weight) if isinstance(table, nn.Module) and isinstance(weight, torch.Tensor) else None
