"""The device that networks run on, how many tokens it takes at a time, and in which arithmetic it is fast."""

import time
from functools import cache

import torch
from torch import Tensor

from muki_pipeline.config import Dtype, Label
from muki_pipeline.errors import MukiError

# Measured on 2 cores: from 4,096 tokens on, a layer's activations leave the cache. A GPU needs larger batches.
_AUTO_TOKEN_BUDGET = {"cpu": 2048, "cuda": 65_536}

# A batch times a layer's largest matrix in a small encoder, and how much faster it must be: less is noise.
_MATRIX, _TIMES, _FASTER = (384, 1536), 10, 1.25


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
    return auto_token_budget(device) if settings.token_budget == "auto" else settings.token_budget


def auto_token_budget(device: torch.device) -> int:
    """Tokens in a batch, padding counted, that do best on the device."""
    return _AUTO_TOKEN_BUDGET[device.type]


@cache
def fast_dtype(device: torch.device) -> Dtype:
    """bfloat16 where the device has instructions for it and a product is faster in it than in float32, else float32."""
    if device.type == "cuda":
        supported = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        supported = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    if not supported:
        return "float32"
    exact, fast = (_product(dtype, device) for dtype in ("float32", "bfloat16"))
    # In turn, and the fastest of each: what else the machine does hits both, and no average.
    times = [(_seconds(exact), _seconds(fast)) for _ in range(_TIMES)]
    slow, quick = (min(column) for column in zip(*times, strict=True))
    return "bfloat16" if slow > _FASTER * quick else "float32"


def _product(dtype: Dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """The factors of a layer's largest product."""
    rows, (inner, columns) = auto_token_budget(device), _MATRIX
    kind = getattr(torch, dtype)
    return torch.ones((rows, inner), dtype=kind, device=device), torch.ones((inner, columns), dtype=kind, device=device)


def _seconds(factors: tuple[Tensor, Tensor]) -> float:
    start = time.perf_counter()
    (factors[0] @ factors[1])[0, 0].item()  # waits for a GPU
    return time.perf_counter() - start
