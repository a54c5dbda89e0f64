"""Monte-Carlo dropout (Gal & Ghahramani 2016): find it, replace it, key it.

A network applies dropout in three ways: `nn.Dropout` modules, the attention function (`attention.py`), and calls of
`torch.nn.functional.dropout`. Each place becomes a `Site` with keyed masks. The model stays in `eval()` throughout:
nothing but dropout changes.
"""

import logging
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd
from torch.overrides import TorchFunctionMode
from transformers import PreTrainedModel
from transformers.utils import logging as transformers_logging

from muki_pipeline.errors import MukiError
from muki_pipeline.labelling.network.attention import use_keyed_attention
from muki_pipeline.labelling.network.masks import Call, Masks, Site, refused
from muki_pipeline.labelling.network.probe import Probe
from muki_pipeline.models.loaded.teacher import dropout_settings

# Two batches whose sizes and lengths tell every leading axis apart: [batch], [batch * heads], [fixed], others.
_PROBE_LENGTHS = ((4, 4), (3, 3, 3))


class NoDropoutError(MukiError):
    """A network that applies no dropout: there is nothing to sample."""


def applies(model: PreTrainedModel, probe: Probe) -> bool:
    """Always: a teacher without dropout is refused."""
    return True


def apply(model: PreTrainedModel, probe: Probe, undo: ExitStack) -> None:
    """Replace dropout modules, and set the attention function.

    Raises:
        MukiError: A module's dropout cannot have keyed masks.
    """
    _replace_modules(model, probe.masks)
    level = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity(logging.ERROR)  # a model that keeps its own attention has dropout modules in it
    use_keyed_attention(model, probe.masks)
    transformers_logging.set_verbosity(level)


def prove(model: PreTrainedModel, probe: Probe) -> bool:
    """Find the sites, each with its p and batch axis. Without a pass, all numbers must stay what they were.

    Raises:
        NoDropoutError: There are no sites.
        MukiError: A site cannot have keyed masks, or the attention function computes something else.
    """
    probe.masks.sites, teacher = _discover(model, probe), probe.masks.teacher
    if not probe.masks.sites:
        settings = dropout_settings(model.config)
        what = (
            f"its config sets dropout {settings}, but the network applies none"
            if any(settings.values())
            else f"no dropout is active; its config has {settings}"
        )
        fix = f"Set one in params.yaml, say teachers.{teacher}.dropout: 0.1, or use another architecture"
        raise NoDropoutError(what, where=f"teacher {teacher}", fix=fix)
    if probe.dtype == torch.float32 and not probe.agrees(model):
        raise refused(teacher, "with an attention function that has keyed dropout it computes other numbers")
    return True


def functional_dropout(masks: Masks) -> AbstractContextManager[object]:
    """Inside, calls of `torch.nn.functional.dropout` have keyed masks, if the network makes any."""
    is_called = any(site.kind == "functional" for site in masks.sites.values())
    return _FunctionalDropout(masks) if is_called else nullcontext()


class _ModuleDropout(nn.Module):
    """Takes the place of an `nn.Dropout`; keeps its `p`, which attention modules read."""

    def __init__(self, name: str, p: float, masks: Masks) -> None:
        super().__init__()
        self.name, self.p, self.masks = name, p, masks
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.masks.drop(self.name, "module", self.p, x)


class _FunctionalDropout(TorchFunctionMode):
    """Gives calls of `torch.nn.functional.dropout` in the model's own code keyed masks, in the order of the calls."""

    def __init__(self, masks: Masks) -> None:
        super().__init__()
        self.masks = masks

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is not nn.functional.dropout:
            return func(*args, **kwargs)
        x = args[0] if args else kwargs["input"]
        p = args[1] if len(args) > 1 else kwargs.get("p", 0.5)
        return self.masks.drop("functional", "functional", p, x)


def _replace_modules(model: PreTrainedModel, masks: Masks) -> None:
    """Replace every `nn.Dropout` with p above 0 by a keyed one; a module that is used twice stays one module."""
    replacements: dict[int, _ModuleDropout] = {}
    for name, module in list(model.named_modules(remove_duplicate=False)):
        if not isinstance(module, _DropoutNd) or module.p == 0:
            continue
        if type(module) is not nn.Dropout:
            raise refused(masks.teacher, f"{name} is a {type(module).__name__}, for which no mask can be keyed")
        model.set_submodule(name, replacements.setdefault(id(module), _ModuleDropout(name, module.p, masks)))


def _discover(model: PreTrainedModel, probe: Probe) -> dict[str, Site]:
    """Every place where two probes meet dropout with a p above 0, in order, and which axis is the batch."""
    masks = probe.masks

    def calls(lengths: tuple[int, ...]) -> dict[str, Call]:
        masks.begin(None, len(lengths))
        found: dict[str, Call] = {}
        masks.calls = found
        with _FunctionalDropout(masks):
            model(**probe.batch(*lengths))
        masks.calls = None
        return found

    first, second = _PROBE_LENGTHS
    names = {name.partition("#")[0] for name, (kind, _, _) in calls(first).items() if kind == "attention"}
    attention = [model.get_submodule(name) for name in names]
    # An attention module, under whatever name it keeps its p, passes it on only while its `training` flag is set.
    # Its children's flags stay as they are.
    for module in attention:
        module.training = True
    seen, other = calls(first), calls(second)
    for module in attention:
        module.training = False
    return {
        name: Site(name, kind, p, _groups(name, masks.teacher, rows, other[name][2]))
        for name, (kind, p, rows) in seen.items()
        if p > 0
    }


def _groups(name: str, teacher: str, first: int, second: int) -> int:
    """Leading rows per instance (see `Site`), from the first axis in both probes."""
    batch, other = map(len, _PROBE_LENGTHS)
    if first % batch == 0 and first // batch * other == second:
        return first // batch
    if first == second:
        return 0
    what = f"the first axis of dropout {name} is neither the batch nor fixed, so no mask can be shared by the texts"
    raise refused(teacher, what)
