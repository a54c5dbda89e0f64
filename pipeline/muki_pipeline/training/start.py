"""Where a training begins: the average of a text's positions, and a head that is fitted to the targets.

A pretrained encoder's first position often says little about a text (in the first layers of a sentence encoder it is
nearly constant), and a random head knows no label: training from there spends most of its steps on making both. Fitting
the head before anything else is trained is "linear probing, then fine-tuning" (Kumar et al. 2022, arXiv:2202.10054).
"""

from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from muki_pipeline.config import Arithmetic, Training
from muki_pipeline.models.heads import find_head, recording_features
from muki_pipeline.training.base import load_base
from muki_pipeline.training.base_files import named_labels
from muki_pipeline.training.batches import Collator

_SAMPLE = 5_000
"""Texts that a head is fitted to, at most: seconds, even on a CPU."""
_AVERAGING = frozenset({"bert", "roberta", "xlm-roberta", "camembert", "electra"})
"""Architectures whose layers can average: they share one attention, without relative positions."""
_MEAN, _POOLER = 4.0, 0.3
"""The weight of the average beside what the first position held; the factor of the layer before the head, which follows
it with tanh: nearly linear at this size."""
_RIDGE = 1e-2
"""λ of the fitted head: λ/2 · |W|² is added to the loss."""
_BATCH, _ITERATIONS = 64, 100
"""Texts read at a time; steps of L-BFGS at most."""


def load_start(settings: Training, labels: list[str], root: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The classifier before its training, with a fresh head, and its tokenizer.

    Raises:
        MukiError: See `load_base`.
    """
    model, tokenizer = load_base(settings, labels, root)
    if settings.pooling == "mean" and model.config.model_type in _AVERAGING and not named_labels(settings, root):
        add_averaging_layer(model)
    return model, tokenizer


def add_averaging_layer(model: PreTrainedModel) -> None:
    """Add a layer whose first position begins as LN(LN(h_0 + 4 · mean(h))), the mean being that of all positions.

    It is a layer like the others and trained with them, so the classifier stays an ordinary model of its architecture.
    The dense layer between encoder and head begins as 0.3 times its input.
    """
    layers = model.base_model.get_submodule("encoder.layer")
    assert isinstance(layers, nn.ModuleList)
    layer = deepcopy(layers[-1])
    with torch.no_grad():
        for part in ("attention.self.query", "output.dense"):  # equal attention everywhere; no feed-forward
            _set_linear(layer.get_submodule(part), 0.0)
        _set_linear(layer.get_submodule("attention.self.value"), 1.0)
        _set_linear(layer.get_submodule("attention.output.dense"), _MEAN)
        for part in ("attention.output.LayerNorm", "output.LayerNorm"):
            layer.get_submodule(part).get_parameter("weight").fill_(1)
            layer.get_submodule(part).get_parameter("bias").zero_()
        for part in ("bert.pooler.dense", "classifier.dense"):
            if part in dict(model.named_modules()):
                _set_linear(model.get_submodule(part), _POOLER)
    layers.append(layer)
    model.config.num_hidden_layers += 1


def _set_linear(linear: nn.Module, factor: float) -> None:
    """Make a square layer multiply by a factor, any layer by 0."""
    weight = linear.get_parameter("weight")
    weight.copy_(factor * torch.eye(*weight.shape))
    linear.get_parameter("bias").zero_()


def fit_head(
    model: PreTrainedModel,
    data: Dataset,
    collator: Collator,
    loss: Callable[[Tensor, Mapping[str, Tensor]], Tensor],
    precision: Arithmetic = "float32",
) -> None:
    """Fit the head to the targets while the encoder stays as it is: a convex problem, solved by L-BFGS.

    A head that is no linear layer with a bias, or that reads every position, is left as it is.

    Args:
        model: Its head is changed in place.
        data: Tokenised texts with their supervision.
        collator: Makes batches of them.
        loss: Of logits `[texts, labels]` and the supervision of these texts.
        precision: Arithmetic of the encoder's products; the fit itself is in float32.
    """
    head = find_head(model)
    if not isinstance(head, nn.Linear) or head.bias is None:
        return
    with torch.autocast(model.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        features, supervision = _read(model, head, data, collator)
    if features.ndim != 2:
        return
    mean = features.mean(dim=0)
    centred = features - mean
    weight = torch.zeros_like(head.weight, requires_grad=True)
    bias = torch.zeros_like(head.bias, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=_ITERATIONS, line_search_fn="strong_wolfe")

    # torch leaves `backward` and LBFGS's `step` unannotated.
    def objective() -> Tensor:
        optimizer.zero_grad()
        value = loss(nn.functional.linear(centred, weight, bias), supervision) + _RIDGE / 2 * weight.square().sum()
        value.backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        return value

    optimizer.step(objective)  # type: ignore[no-untyped-call]  # torch leaves it unannotated
    with torch.no_grad():
        head.weight.copy_(weight)
        head.bias.copy_(bias - weight @ mean)


def _read(
    model: PreTrainedModel, head: nn.Module, data: Dataset, collator: Collator
) -> tuple[Tensor, dict[str, Tensor]]:
    """What the head reads of texts spread over the data, `[texts, features]`, and their supervision."""
    rows = np.unique(np.linspace(0, len(data) - 1, min(len(data), _SAMPLE)).astype(int))
    lengths = np.asarray(data.select_columns("length")[:]["length"])[rows]
    rows = rows[np.argsort(-lengths, kind="stable")]
    names = set(collator.tokenizer.model_input_names)
    batches = []
    was_training = model.training
    model.train(False)
    with torch.no_grad(), recording_features(head) as features:
        for start in range(0, len(rows), _BATCH):
            part = rows[start : start + _BATCH].tolist()
            batch = {name: tensor.to(model.device) for name, tensor in collator([data[row] for row in part]).items()}
            model(**{name: batch.pop(name) for name in names & batch.keys()})
            batches.append(batch)
    model.train(was_training)
    if features[0].ndim != 2:
        return features[0], {}
    return torch.cat(features).float(), {name: torch.cat([each[name] for each in batches]) for name in batches[0]}
