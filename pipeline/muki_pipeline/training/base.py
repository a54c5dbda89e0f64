"""The pretrained model that a training starts from."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    set_seed,
)

from muki_pipeline.config import Training
from muki_pipeline.errors import MukiError, refusing, shortlist
from muki_pipeline.models import locations
from muki_pipeline.models.checks.loaded_weights import check_unused_weights, new_weights
from muki_pipeline.models.checks.reading import check_reading
from muki_pipeline.models.heads import classifier_head
from muki_pipeline.models.model_config import read_model_config
from muki_pipeline.models.tokenizers import align_padding, check_length, load_tokenizer, longest_input
from muki_pipeline.training.base_files import base_folder, named_labels


def load_base(settings: Training, labels: list[str], root: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The pretrained model that a classifier of `labels` is trained from, with a fresh head, and its tokenizer.

    Raises:
        MukiError: No such model, or it cannot be made a text classifier.
    """
    folder = base_folder(settings, root)
    read_model_config(folder / "config.json")
    tokenizer = load_tokenizer(folder, settings.model)
    set_seed(settings.seed)  # the head is drawn here
    fix = "Name a folder or hub id of a text encoder"
    with refusing("cannot be loaded as a classifier to train", where=settings.model, fix=fix):
        config = AutoConfig.from_pretrained(folder)
        if settings.layers is not None and settings.layers > getattr(config, "num_hidden_layers", settings.layers):
            what = f"it has {config.num_hidden_layers} layers, and {settings.layers} are asked for"
            raise MukiError(what, where=settings.model, fix="Lower layers, or leave it out")
        model, report = AutoModelForSequenceClassification.from_pretrained(
            folder,
            id2label=dict(enumerate(labels)),
            label2id={label: number for number, label in enumerate(labels)},
            problem_type="single_label_classification",
            use_safetensors=True,
            ignore_mismatched_sizes=True,
            dtype=torch.float32,
            output_loading_info=True,
            attn_implementation=None if torch.cuda.is_available() else "eager",  # on a CPU the others train slower
            **({"num_hidden_layers": settings.layers} if settings.layers else {}),
        )
    _check_loaded(settings, model, report)
    _keep_known_labels(folder, named_labels(settings, root), labels, model)
    align_padding(model, tokenizer)
    check_length(model, tokenizer, settings.max_length, settings.model, "max_length")
    _check_trainable(model, tokenizer, settings)
    return model, tokenizer


def _check_trainable(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, settings: Training) -> None:
    """Whatever a training would stumble over is met on a few words, before any work is spent."""

    def trained(inputs: Mapping[str, Tensor]) -> Tensor:
        with torch.random.fork_rng(devices=[]):  # dropout must not move the random numbers of the training to come
            model.train()
            model(**inputs).logits.logsumexp(dim=-1).sum().backward()
        model.eval().zero_grad()  # type: ignore[no-untyped-call]  # transformers leaves `eval` unannotated
        with torch.inference_mode():
            logits: Tensor = model(**inputs).logits
        return logits

    fix = f"Use a text encoder of another architecture than {model.config.model_type}"
    check_reading(model, tokenizer, trained, settings.max_length, settings.model, fix)


def base_reading(model: str, revision: str | None, root: Path) -> tuple[int | None, PreTrainedTokenizerBase | None]:
    """Longest text in tokens that a pretrained model reads, and its tokenizer; no weights are loaded.

    Args:
        model: A folder, `package:DISTRIBUTION/PATH`, or a hub id, which is looked for among earlier downloads alone.
        revision: Commit of a model on the hub.
        root: What a relative path is relative to.

    Returns:
        No length where the model reads any, and nothing where it is not there or is no text encoder.
    """
    try:
        folder = locations.model_folder(model, root, revision=revision, offline=True)
        tokenizer = load_tokenizer(folder, model)
        with refusing("has no config of a text encoder", where=model, fix="Name one"), torch.device("meta"):
            config = AutoConfig.from_pretrained(folder)
            # transformers leaves this function unannotated.
            network = AutoModelForSequenceClassification.from_config(config)  # type: ignore[no-untyped-call]
    except MukiError:
        return None, None
    return longest_input(network, tokenizer), tokenizer


def _keep_known_labels(folder: Path, rows: Mapping[str, int], labels: list[str], model: PreTrainedModel) -> None:
    """Give the labels that the pretrained model already tells apart their rows of its head."""
    rows = {label: row for label, row in rows.items() if label in labels}
    if not rows:
        return
    before = classifier_head(
        AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32), str(folder)
    )
    with torch.no_grad():
        for kind, parameter in classifier_head(model, str(folder)).named_parameters():
            for label, row in rows.items():
                parameter[labels.index(label)] = before.get_parameter(kind)[row]


def _check_loaded(settings: Training, model: PreTrainedModel, report: Mapping[str, Any]) -> None:
    """Only the head and the pooler may be new; weights of layers are left out only where fewer layers are asked for."""
    encoder = f"{model.base_model_prefix}."
    if random := [key for key in new_weights(report) if key.startswith(encoder) and "pooler" not in key]:
        what = f"its weights do not fit its config: {shortlist(random)} would be random"
        raise MukiError(what, where=settings.model, fix="Name a model whose weights and config.json belong together")
    if settings.layers is None:
        fix = "Set layers to what is wanted, or correct config.json"
        check_unused_weights(model, report, settings.model, fix)
