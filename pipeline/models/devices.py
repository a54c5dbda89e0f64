"""The device that networks run on, and how many tokens it takes at a time."""

import torch

from pipeline.config import Label
from pipeline.errors import MukiError

# Measured on 2 cores: from 4,096 tokens on, a layer's activations leave the cache. A GPU needs larger batches.
_AUTO_TOKEN_BUDGET = {"cpu": 2048, "cuda": 65_536}


def choose_device(name: str) -> torch.device:
    """The device that `label.device` names; `auto` takes a GPU where there is one.

    Raises:
        MukiError: The named device is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise MukiError(f"there is no {name}", where="label.device", fix="Set it to auto or cpu")
    return device


def token_budget(settings: Label, device: torch.device) -> int:
    """Most tokens in a batch, padding counted: what the settings say, or what does best on the device."""
    return _AUTO_TOKEN_BUDGET[device.type] if settings.token_budget == "auto" else settings.token_budget
