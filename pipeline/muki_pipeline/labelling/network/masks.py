"""Keyed dropout masks: one set per pass, shared by every instance.

A mask element is a pure function of (seed, teacher, pass, site, position). So a text's
numbers do not depend on its batch, padding, order, shard or device, and pass k of 8 is pass k of 16.
"""

import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from muki_pipeline.errors import MukiError

Kind = Literal["module", "attention", "functional"]
Call = tuple[Kind, float, int]
"""Kind and p of a call for dropout, and the length of its input's first axis."""
_LOW_32 = 0xFFFFFFFF
_COUNTER_BITS = 20


@dataclass(frozen=True)
class Site:
    """One place where a network drops elements.

    Attributes:
        name: Qualified module name, or `functional`; `NAME#2` for its second call in a forward pass (layers that share
            their weights still drop independently).
        kind: How the network asks for dropout: a module, the attention function, a function call.
        p: Probability that an element is dropped.
        groups: Leading rows per instance: 1 for `[batch, ...]`, the heads for `[batch * heads, ...]`, 0 where no axis
            is the batch's (DeBERTa's relative positions) and the mask covers the whole tensor.
    """

    name: str
    kind: Kind
    p: float
    groups: int


def refused(teacher: str, what: str) -> MukiError:
    """The error of a network that no transform makes fit for labelling."""
    return MukiError(what, where=f"teacher {teacher}", fix="Use a teacher of another architecture")


def keep_mask(key: int, shape: tuple[int, ...], p: float, device: torch.device) -> Tensor:
    """Which elements stay, from a counter-based generator: the same bits on every device.

    Squares (Widynski 2020, arXiv:2004.06278), four rounds, on a counter made of the element's coordinates. A smaller
    shape's mask is therefore a corner of a larger one's.

    Args:
        key: 64-bit stream key; made odd, as the generator asks.
        shape: Axes of the mask; every axis but the first is shorter than 2^20.
        p: Probability that an element is dropped, in steps of 2^-32.
        device: Where the mask is made.

    Returns:
        Boolean tensor of `shape`, True where the element stays.
    """
    if any(length >= 1 << _COUNTER_BITS for length in shape[1:]) or len(shape) > 4:
        raise ValueError(f"a dropout mask of shape {shape} has axes too long for its counter")
    signed = (key | 1) - (1 << 64) if key >> 63 else key | 1
    counter = torch.zeros((), dtype=torch.int64, device=device)
    for length in shape:
        # The first of four axes takes what is left of the 64 bits: heads, of which there are few.
        counter = (counter.unsqueeze(-1) << _COUNTER_BITS) + torch.arange(length, device=device)
    # int64 products wrap modulo 2^64 as the generator's unsigned ones do; only the shifts need care.
    y = counter * signed
    z = y + signed
    x = y
    for addend in (y, z, y):
        x = x * x + addend
        x = ((x >> 32) & _LOW_32) | (x << 32)
    uniform = ((x * x + z) >> 32) & _LOW_32
    return uniform >= round(p * 2**32)


def drop(x: Tensor, kept: Tensor, p: float, out: Tensor | None = None) -> Tensor:
    """`x` with dropped elements 0 and the others divided by 1 - p, in one sweep over memory.

    Args:
        x: What is dropped.
        kept: 1 where an element stays and 0 where not, of the type of `x` and broadcast against it.
        p: Probability that an element is dropped.
        out: Where the result goes; a new tensor by default.
    """
    # addcmul rounds once; a factor of 1 / (1 - p) would itself be rounded to three digits in bfloat16.
    return torch.addcmul(x.new_zeros(()), x, kept, value=1.0 / (1.0 - p), out=out)


class Masks:
    """Where a network drops elements, and the masks of the pass that runs.

    Every place asks `site` which one it is. A layer that is called again in one forward pass is another site, because
    layers that share their weights still drop independently.

    Args:
        seed: Of every mask.
        teacher: The teacher's name.

    Attributes:
        teacher: The teacher's name.
        sites: What drops elements, by name, in the order of the calls; other places leave their input as it is.
        calls: By the site's name, every call since this was set to a dictionary; None for no record.
        one_kernel_from: Tokens from which attention is one kernel, None for never; see `attention.py`.
    """

    def __init__(self, seed: int, teacher: str) -> None:
        self.teacher = teacher
        self.sites: dict[str, Site] = {}
        self.calls: dict[str, Call] | None = None
        self.one_kernel_from: int | None = None
        self._identity = f"{seed}/{teacher}"
        self._pass: int | None = None
        self._batch = 0
        self._counts: Counter[str] = Counter()
        self._cache: dict[str, Tensor] = {}

    def begin(self, pass_number: int | None, batch: int) -> None:
        """A forward pass over `batch` instances begins; without a number nothing is dropped.

        Masks of another pass are released.
        """
        if pass_number != self._pass:
            self._cache.clear()
        self._pass, self._batch = pass_number, batch
        self._counts.clear()

    def site(self, owner: str, kind: Kind, p: float, x: Tensor) -> Site | None:
        """The site that is being called, None where nothing is dropped.

        Args:
            owner: Name of the module that calls, or `functional`.
            kind: How it asks for dropout.
            p: The probability that it asks for.
            x: What it would drop elements of.
        """
        self._counts[owner] += 1
        name = owner if self._counts[owner] == 1 else f"{owner}#{self._counts[owner]}"
        if self.calls is not None:
            self.calls[name] = kind, p, len(x)
        return None if self._pass is None else self.sites.get(name)

    def kept(self, site: Site, shape: tuple[int, ...], x: Tensor) -> Tensor:
        """The site's mask for one instance, 1 where an element stays and 0 where not, of the type of `x`."""
        cached = self._cache.get(site.name)
        if (
            cached is None
            or cached.dtype != x.dtype
            or any(have < want for have, want in zip(cached.shape, shape, strict=True))
        ):
            size = shape if cached is None else tuple(max(pair) for pair in zip(cached.shape, shape, strict=True))
            digest = hashlib.sha256(f"{self._identity}/{self._pass}/{site.name}".encode()).digest()
            kept = keep_mask(int.from_bytes(digest[:8], "big"), size, site.p, x.device)
            cached = self._cache[site.name] = kept.to(x.dtype)
        return cached[tuple(slice(length) for length in shape)]

    def drop(self, owner: str, kind: Kind, p: float, x: Tensor) -> Tensor:
        """`x` with what the site drops, the same for every instance; for the arguments see `site`."""
        site = self.site(owner, kind, p, x)
        if site is None:
            return x
        rows = x.view(self._batch, site.groups, *x.shape[1:]) if site.groups > 1 else x
        shape = tuple(rows.shape[1:] if site.groups else rows.shape)
        return drop(rows, self.kept(site, shape, x), site.p).view_as(x)
