"""A classifier's head, and the features that it reads."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn
from transformers import PreTrainedModel

from muki_pipeline.errors import MukiError


def classifier_head(model: PreTrainedModel, where: str) -> nn.Module:
    """The layer that turns a text's features into logits: the last one with a row of weights for each label.

    Args:
        model: A classifier.
        where: Named in errors.

    Raises:
        MukiError: There is no such layer.
    """
    if (head := find_head(model)) is None:
        fix = "Leave out label.features and the rules cfl and dfa, or use another architecture"
        raise MukiError("has no linear layer with a row for each label", where=where, fix=fix)
    return head


def find_head(model: PreTrainedModel) -> nn.Module | None:
    """The same layer, or None."""
    heads = [
        module
        for module in model.modules()
        if (weight := getattr(module, "weight", None)) is not None
        and weight.ndim == 2
        and len(weight) == model.config.num_labels
        and not isinstance(module, nn.Embedding)
    ]
    return heads[-1] if heads else None


@contextmanager
def recording_features(head: nn.Module) -> Iterator[list[Tensor]]:
    """Inside, what the head reads in each forward pass, `[batch, features]`, is appended to the list that this yields.

    A head that reads every position yields `[batch, tokens, features]`.
    """
    features: list[Tensor] = []
    hook = head.register_forward_pre_hook(lambda module, inputs: features.append(inputs[0]))
    try:
        yield features
    finally:
        hook.remove()
