"""Whether a model's weights and its config.json belong together, by what loading them reports."""

import re
from collections.abc import Mapping
from typing import Any

from transformers import PreTrainedModel

from muki_pipeline.errors import MukiError, shortlist
from muki_pipeline.models.checks.folder_kinds import UNWRAP, wrapper_of


def new_weights(report: Mapping[str, Any]) -> list[str]:
    """Names of the weights that loading made up: the files lack them, or have them in another shape."""
    mismatched = {str(key[0]) if isinstance(key, tuple) else str(key) for key in report["mismatched_keys"]}
    return sorted({str(key) for key in report["missing_keys"]} | mismatched)


def check_unused_weights(model: PreTrainedModel, report: Mapping[str, Any], where: str, fix: str) -> None:
    """Refuse a model whose files have weights of more layers than config.json, or all under a wrapper's prefix.

    Args:
        model: As loaded.
        report: What `from_pretrained` tells with `output_loading_info`.
        where: Named in errors.
        fix: What to do about layers that would be left out.

    Raises:
        MukiError: It is one of these.
    """
    unused = sorted(str(key) for key in report["unexpected_keys"])
    if report["missing_keys"] and (prefix := wrapper_of(unused)) is not None:
        raise MukiError(f"holds weights that were saved with a wrapper's prefix, {prefix}", where=where, fix=UNWRAP)
    own = set(model.state_dict())
    own |= {name.removeprefix(f"{model.base_model_prefix}.") for name in own}
    if layers := [name for name in unused if _is_of_another_layer(name, own)]:
        what = f"its config.json has fewer layers than its weights: {shortlist(layers)} would be left out"
        raise MukiError(what, where=where, fix=fix)


def _is_of_another_layer(name: str, own: set[str]) -> bool:
    """Whether the model has a weight that differs in one number of its name alone: the same part of another layer."""
    return any(name[: number.start()] + "0" + name[number.end() :] in own for number in re.finditer(r"\b\d+\b", name))
