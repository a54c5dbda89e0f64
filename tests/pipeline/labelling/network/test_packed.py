import platform

import pytest
import torch
from torch import nn
from transformers.activations import GELUActivation

from muki_pipeline.labelling.network import packed
from tests import tiny
from tests.pipeline.labelling.network.passes import INPUTS, bfloat16_cpu, network, passes, plain, stay

pytestmark = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="only x86 CPUs pack products")


@pytest.mark.parametrize("architecture", [*sorted(tiny.ARCHITECTURES), "gpt2"])
def test_packed_products_change_no_number(architecture: str) -> None:
    stock, model = (tiny.model(["a", "b", "c"], architecture) for _ in range(2))
    stock.config.pad_token_id = model.config.pad_token_id = 0
    torch.testing.assert_close(passes(model, packed), passes(stock), atol=1e-6, rtol=1e-6)
    assert not any(type(module) is nn.Linear for module in model.modules())


@pytest.mark.parametrize("architecture", sorted(tiny.ARCHITECTURES))
def test_the_feed_forward_activation_is_part_of_its_product(architecture: str) -> None:
    model = tiny.model(["a", "b"], architecture)
    before = [name for name, module in model.named_modules() if isinstance(module, GELUActivation)]
    assert len(before) >= 2
    assert stay(model, packed)
    fused = {name for name in before if isinstance(model.get_submodule(name), nn.Identity)}
    assert {name for name in before if "layer" in name} <= fused


def test_a_product_that_something_else_reads_too_is_left_alone() -> None:
    model = tiny.model(["a", "b"])
    block = model.bert.encoder.layer[0].intermediate

    def forward(hidden: torch.Tensor) -> torch.Tensor:
        between = block.dense(hidden)
        return block.intermediate_act_fn(between) + between

    block.forward = forward
    before = plain(model)
    assert not stay(model, packed)
    assert torch.equal(plain(model), before)
    assert type(block.dense) is nn.Linear


@bfloat16_cpu
def test_bfloat16_products_are_those_of_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    def logits(dtype: torch.dtype) -> torch.Tensor:
        labels = network(tiny.model(["a", "b", "c"]), dtype)
        return torch.stack([labels.forward(INPUTS, number) for number in (None, 0)])

    exact, ours = logits(torch.float32), logits(torch.bfloat16)
    monkeypatch.setattr(packed, "_supported", lambda dtype: False)
    theirs = logits(torch.bfloat16)
    assert not torch.equal(ours, exact)
    assert (ours - exact).abs().max() <= 1.5 * (theirs - exact).abs().max()
