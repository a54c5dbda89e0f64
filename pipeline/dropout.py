"""Monte-Carlo dropout (Gal & Ghahramani 2016): find it, replace it, switch it on pass by pass.

Dropout stands in three places: `nn.Dropout` modules, the attention function (transformers lets one register a function
of one's own, and hands it the probability only where the attention module's `training` flag is set), and calls of
`torch.nn.functional.dropout`. Each becomes a `Site` with keyed masks. The model stays in `eval()` throughout: nothing
but dropout changes.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd
from torch.overrides import TorchFunctionMode
from transformers import AttentionInterface, AttentionMaskInterface, PretrainedConfig, PreTrainedModel
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import eager_mask
from transformers.utils import logging as transformers_logging

from pipeline.encoder import Prefix
from pipeline.errors import MukiError
from pipeline.masks import Kind, Masks, Site

ATTENTION = "muki_monte_carlo"
# Two probes whose batch sizes and lengths tell every leading axis apart: [batch], [batch * heads], [fixed], others.
_PROBE_SHAPES = ((2, 4), (3, 3))
_Record = Callable[[str, Kind, float, Tensor], None]


class _KeyedDropout(nn.Module):
    """Takes the place of an `nn.Dropout`; keeps its `p`, which attention modules read."""

    def __init__(self, name: str, p: float, masks: Masks) -> None:
        super().__init__()
        self.name, self.p, self.masks = name, p, masks
        self.record: _Record | None = None
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        site = self.masks.site_name(self.name)
        if self.record is not None:
            self.record(site, "module", self.p, x)
        return self.masks.apply(site, x)


class _FunctionalDropout(TorchFunctionMode):
    """Gives calls of `torch.nn.functional.dropout` in the model's own code keyed masks, in the order of the calls."""

    def __init__(self, masks: Masks, record: _Record | None = None) -> None:
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


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention as transformers calls it, with the keyed mask on its probabilities while a pass is under way."""
    installed, owner = _INSTALLED[module]
    name = installed.masks.site_name(owner)
    if installed.record is not None:
        installed.record(name, "attention", dropout, query)
    site = installed.masks.sites.get(name)
    if site is None or not installed.masks.active:
        output: Tensor
        output, _ = sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
        return output, None
    if unsupported := [option for option in ("softcap", "s_aux") if kwargs.get(option) is not None]:
        raise MukiError(
            f"attention with {', '.join(unsupported)} has no keyed dropout",
            where=name,
            fix="Use a teacher of another architecture",
        )
    instances, heads, queries, size = query.shape
    heads_per_key = heads // key.shape[1]
    key, value = repeat_kv(key, heads_per_key), repeat_kv(value, heads_per_key)
    given = (kwargs.get("position_bias"), attention_mask)
    biases = [bias.expand(-1, heads, -1, -1) for bias in given if bias is not None]
    scale = installed.masks.scale(site, (heads, queries, key.shape[2]), query.device)
    query = query * (size**-0.5 if scaling is None else scaling)
    mixed = value.new_empty((instances, queries, heads, value.shape[-1]))
    # On a CPU head by head: a product reads one head of all instances where it stands, and its scores fit the cache.
    step = 1 if query.device.type == "cpu" else heads
    tensors = (query, key.transpose(-1, -2), value, mixed.transpose(1, 2), *biases)
    by_heads = zip(torch.split(scale, step), *(torch.split(tensor, step, dim=1) for tensor in tensors), strict=True)
    for factors, q, k, v, output, *added in by_heads:
        scores = q @ k
        for bias in added:
            scores = scores + bias
        probs = torch.softmax(scores, dim=-1, dtype=torch.float32)
        probs *= factors
        output.copy_(probs.to(v.dtype) @ v)
    return mixed, None


AttentionInterface.register(ATTENTION, _attention)
# Masks as explicit float biases, causal ones too; None only where every token sees every other.
AttentionMaskInterface.register(ATTENTION, eager_mask)


class MonteCarloDropout:
    """Keyed dropout, installed in a classifier. From then on the model is run through `logits`.

    Args:
        model: The classifier, in `eval()`; its dropout modules are replaced and its attention function is set.
        seed: Seed of every mask.
        teacher: Name of the teacher; another name draws other masks.
        token_ids: A tokenised text of two ids or more, for the probes that find where dropout stands.
        layers: Drop only in the encoder's last so many layers and behind them; None drops everywhere.

    Attributes:
        sites: Every place where dropout is active, by name.
        prefix: The layers before the last `layers`, None where dropout is everywhere.

    Raises:
        MukiError: No dropout is active, or it stands where no mask can be keyed.
    """

    def __init__(
        self, model: PreTrainedModel, *, seed: int, teacher: str, token_ids: list[int], layers: int | None = None
    ) -> None:
        self.model, self.masks, self.teacher = model, Masks(seed, teacher), teacher
        self.record: _Record | None = None
        self._modules = _replace_modules(model, self.masks, teacher)
        with _quiet():
            model.set_attn_implementation(ATTENTION)
        _INSTALLED.update({module: (self, name) for name, module in model.named_modules()})
        self.prefix = None if layers is None else Prefix(model, layers, teacher)
        self.masks.sites = self._discover(token_ids)
        self.sites = dict(self.masks.sites)
        self._functional = any(site.kind == "functional" for site in self.sites.values())
        if not self.sites:
            raise MukiError(
                f"no dropout is active; its config has {dropout_settings(model.config)}",
                where=f"teacher {teacher}",
                fix=f"Set one in params.yaml, say teachers.{teacher}.dropout: 0.1",
            )

    def logits(self, inputs: dict[str, Tensor], prefix_output: Any = None) -> Tensor:
        """Logits `[batch, labels]` of the network of the pass under way, or without dropout outside of one.

        Args:
            inputs: The model's arguments, each `[batch, tokens]`.
            prefix_output: What `prefix` said of these inputs before, to go on from there.
        """
        if self.prefix is not None:
            self.prefix.replay = prefix_output
        self.masks.forward_begins(len(inputs["input_ids"]))
        with _FunctionalDropout(self.masks) if self._functional else nullcontext():
            output: Tensor = self.model(**inputs).logits
        return output

    @contextmanager
    def network(self, number: int) -> Iterator[None]:
        """Inside, `logits` is that of the masked network of pass `number`."""
        self.masks.begin(number)
        try:
            yield
        finally:
            self.masks.begin(None)

    def _discover(self, token_ids: list[int]) -> dict[str, Site]:
        """Run two probes and read from what passes by where dropout stands, its p, and which axis is the batch."""
        first = self._probe(*_PROBE_SHAPES[0], token_ids)
        attention = {name.partition("#")[0] for name, (kind, _, _) in first.items() if kind == "attention"}
        with _training_flags(self.model, attention):
            seen = [self._probe(batch, length, token_ids) for batch, length in _PROBE_SHAPES]
        return {
            name: Site(name, kind, p, self._groups(name, rows, seen[1][name][2]))
            for name, (kind, p, rows) in self._behind_prefix(seen[0]).items()
            if p > 0
        }

    def _behind_prefix(self, seen: dict[str, tuple[Kind, float, int]]) -> dict[str, tuple[Kind, float, int]]:
        """Of what a forward pass meets in turn, all that comes after the prefix."""
        if self.prefix is None:
            return seen
        names = list(seen)
        start = next((at for at, name in enumerate(names) if name.startswith(f"{self.prefix.first_kept}.")), len(names))
        return {name: seen[name] for name in names[start:]}

    @torch.inference_mode()
    def _probe(self, batch: int, length: int, token_ids: list[int]) -> dict[str, tuple[Kind, float, int]]:
        """Kind, p and first axis of every dropout that one forward pass meets."""
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

    def _record_with(self, record: _Record | None) -> None:
        self.record = record
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


_INSTALLED: WeakKeyDictionary[nn.Module, tuple[MonteCarloDropout, str]] = WeakKeyDictionary()


def dropout_settings(config: PretrainedConfig) -> dict[str, float | None]:
    """The dropout probabilities that a model's config names, layer drop apart; None stands for "as another"."""
    return {
        name: value
        for name, value in config.to_dict().items()
        if ("dropout" in name or name.endswith("pdrop")) and (value is None or type(value) in (int, float))
    }


def _replace_modules(model: PreTrainedModel, masks: Masks, teacher: str) -> list[_KeyedDropout]:
    """Put a keyed twin in the place of every `nn.Dropout` that drops anything; one module stays one twin."""
    twins: dict[int, _KeyedDropout] = {}
    for name, module in list(model.named_modules(remove_duplicate=False)):
        if not isinstance(module, _DropoutNd) or module.p == 0:
            continue
        if type(module) is not nn.Dropout:
            raise MukiError(
                f"{name} is a {type(module).__name__}, for which no mask can be keyed",
                where=f"teacher {teacher}",
                fix="Use a teacher of another architecture",
            )
        twin = twins.setdefault(id(module), _KeyedDropout(name, module.p, masks))
        parent, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(parent), leaf, twin)
    return list(twins.values())


@contextmanager
def _training_flags(model: PreTrainedModel, names: set[str]) -> Iterator[None]:
    """Set the `training` flag of these modules alone (not of what they hold): attention tells its p only then."""
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
    """Silence the warning that a model keeps its own attention: its dropout modules are found all the same."""
    level = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
