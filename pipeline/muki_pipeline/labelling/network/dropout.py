"""Monte-Carlo dropout (Gal & Ghahramani 2016): find it, replace it, switch it on pass by pass.

A network applies dropout in three ways: `nn.Dropout` modules, the attention function (`attention.py`), and calls of
`torch.nn.functional.dropout`. Each place becomes a `Site` with keyed masks. The model stays in `eval()` throughout:
nothing but dropout changes.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd
from torch.overrides import TorchFunctionMode
from transformers import PreTrainedModel
from transformers.utils import logging as transformers_logging

from muki_pipeline.errors import MukiError
from muki_pipeline.labelling.network.attention import Record, use_keyed_attention
from muki_pipeline.labelling.network.masks import Kind, Masks, Site
from muki_pipeline.models.teachers import dropout_settings

# Two probes whose batch sizes and lengths tell every leading axis apart: [batch], [batch * heads], [fixed], others.
_PROBE_SHAPES = ((2, 4), (3, 3))


class NoDropoutError(MukiError):
    """A network that applies no dropout: there is nothing to sample."""


class _KeyedDropout(nn.Module):
    """Takes the place of an `nn.Dropout`; keeps its `p`, which attention modules read."""

    def __init__(self, name: str, p: float, masks: Masks) -> None:
        super().__init__()
        self.name, self.p, self.masks = name, p, masks
        self.record: Record | None = None
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        site = self.masks.site_name(self.name)
        if self.record is not None:
            self.record(site, "module", self.p, x)
        return self.masks.apply(site, x)


class _FunctionalDropout(TorchFunctionMode):
    """Gives calls of `torch.nn.functional.dropout` in the model's own code keyed masks, in the order of the calls."""

    def __init__(self, masks: Masks, record: Record | None = None) -> None:
        super().__init__()
        self.masks, self.record = masks, record

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is not nn.functional.dropout:
            return func(*args, **kwargs)
        site = self.masks.site_name("functional")
        x = args[0] if args else kwargs["input"]
        if self.record is not None:
            self.record(site, "functional", args[1] if len(args) > 1 else kwargs.get("p", 0.5), x)
        return self.masks.apply(site, x)


class MonteCarloDropout:
    """Keyed dropout, installed in a classifier. From then on the model is run through `logits`.

    Args:
        model: The classifier, in `eval()`; its dropout modules are replaced and its attention function is set.
        seed: Seed of every mask.
        teacher: Name of the teacher; another name draws other masks.
        token_ids: A tokenised text of two ids or more, for the probes that find dropout.

    Attributes:
        sites: Every place with active dropout, by name.

    Raises:
        NoDropoutError: No dropout is active.
        MukiError: A site cannot have keyed masks.
    """

    def __init__(self, model: PreTrainedModel, *, seed: int, teacher: str, token_ids: list[int]) -> None:
        self.model, self.masks, self.teacher = model, Masks(seed, teacher), teacher
        self._modules = _replace_modules(model, self.masks, teacher)
        with _quiet():
            self._attention = use_keyed_attention(model, self.masks)
        self.masks.sites = self._discover(token_ids)
        self.sites = dict(self.masks.sites)
        self._functional = any(site.kind == "functional" for site in self.sites.values())
        if not self.sites:
            settings = dropout_settings(model.config)
            what = (
                f"its config sets dropout {settings}, but the network applies none"
                if any(settings.values())
                else f"no dropout is active; its config has {settings}"
            )
            fix = f"Set one in params.yaml, say teachers.{teacher}.dropout: 0.1, or use another architecture"
            raise NoDropoutError(what, where=f"teacher {teacher}", fix=fix)

    def logits(self, inputs: dict[str, Tensor]) -> Tensor:
        """Logits `[batch, labels]` of the network of the current pass, or without dropout outside of a pass.

        Args:
            inputs: The model's arguments, each `[batch, tokens]`.
        """
        self.masks.forward_begins(len(inputs["input_ids"]))
        with _FunctionalDropout(self.masks) if self._functional else nullcontext():
            output: Tensor = self.model(**inputs).logits
        return output

    @contextmanager
    def network(self, number: int) -> Iterator[None]:
        """Inside, `logits` are those of the masked network of pass `number`."""
        self.masks.begin(number)
        try:
            yield
        finally:
            self.masks.begin(None)

    def _discover(self, token_ids: list[int]) -> dict[str, Site]:
        """Run two probes that record where the network applies dropout, its p, and which axis is the batch."""
        first = self._probe(*_PROBE_SHAPES[0], token_ids)
        attention = {name.partition("#")[0] for name, (kind, _, _) in first.items() if kind == "attention"}
        with _training_flags(self.model, attention):
            seen = [self._probe(batch, length, token_ids) for batch, length in _PROBE_SHAPES]
        return {
            name: Site(name, kind, p, self._groups(name, rows, seen[1][name][2]))
            for name, (kind, p, rows) in seen[0].items()
            if p > 0
        }

    @torch.inference_mode()
    def _probe(self, batch: int, length: int, token_ids: list[int]) -> dict[str, tuple[Kind, float, int]]:
        """Kind, p and length of the first axis of every dropout in one forward pass."""
        seen: dict[str, tuple[Kind, float, int]] = {}

        def record(name: str, kind: Kind, p: float, x: Tensor) -> None:
            seen[name] = (kind, p, len(x))

        text = (token_ids[:-1] * length)[: length - 1] + token_ids[-1:]
        ids = torch.tensor([text] * batch, device=self.model.device)
        self.masks.forward_begins(batch)
        self._record_with(record)
        try:
            with _FunctionalDropout(self.masks, record):
                self.model(input_ids=ids, attention_mask=torch.ones_like(ids))
        finally:
            self._record_with(None)
        return seen

    def _record_with(self, record: Record | None) -> None:
        self._attention.record = record
        for module in self._modules:
            module.record = record

    def _groups(self, name: str, first: int, second: int) -> int:
        (batch, _), (other, _) = _PROBE_SHAPES
        if first % batch == 0 and first // batch * other == second:
            return first // batch
        if first == second:
            return 0
        raise MukiError(
            f"the first axis of dropout {name} is neither the batch nor fixed, so no mask can be shared by the texts",
            where=f"teacher {self.teacher}",
            fix="Use a teacher of another architecture",
        )


def _replace_modules(model: PreTrainedModel, masks: Masks, teacher: str) -> list[_KeyedDropout]:
    """Replace every `nn.Dropout` with p above 0 by a keyed one; a module that is used twice stays one module."""
    replacements: dict[int, _KeyedDropout] = {}
    for name, module in list(model.named_modules(remove_duplicate=False)):
        if not isinstance(module, _DropoutNd) or module.p == 0:
            continue
        if type(module) is not nn.Dropout:
            raise MukiError(
                f"{name} is a {type(module).__name__}, for which no mask can be keyed",
                where=f"teacher {teacher}",
                fix="Use a teacher of another architecture",
            )
        replacement = replacements.setdefault(id(module), _KeyedDropout(name, module.p, masks))
        parent, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(parent), leaf, replacement)
    return list(replacements.values())


@contextmanager
def _training_flags(model: PreTrainedModel, names: set[str]) -> Iterator[None]:
    """Set the `training` flag of these modules alone, not of their children: attention tells its p only then."""
    modules = [model.get_submodule(name) for name in names]
    for module in modules:
        module.training = True
    try:
        yield
    finally:
        for module in modules:
            module.training = False


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the warning that a model keeps its own attention: its dropout modules are found anyway."""
    level = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
