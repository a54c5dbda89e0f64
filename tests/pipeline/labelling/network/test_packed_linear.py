import platform

import pytest
import torch
from torch import nn
from transformers.activations import GELUActivation

from muki_pipeline.labelling.network.dropout import MonteCarloDropout
from muki_pipeline.labelling.network.packed_linear import pack_products
from tests import tiny

IDS = [1, 5, 6, 7, 8, 9, 2]
INPUTS = {
    "input_ids": torch.tensor([[1, 5, 6, 7, 8, 9, 2], [1, 10, 2, 0, 0, 0, 0]]),
    "attention_mask": torch.tensor([[1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0, 0]]),
}
x86 = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="only x86 CPUs have packed products")


@torch.inference_mode()
def logits(model: nn.Module) -> torch.Tensor:
    """Without dropout and of one pass, `[2, texts, labels]`."""
    network = MonteCarloDropout(model, seed=0, teacher="t", token_ids=IDS)
    plain = network.logits(INPUTS)
    with network.network(0):
        return torch.stack([plain, network.logits(INPUTS)])


@x86
@pytest.mark.parametrize("architecture", [*sorted(tiny.ARCHITECTURES), "gpt2"])
def test_packed_products_change_no_number(architecture: str) -> None:
    stock, packed = (tiny.model(["a", "b", "c"], architecture) for _ in range(2))
    if architecture == "gpt2":
        stock.config.pad_token_id = packed.config.pad_token_id = 0
    assert pack_products(packed, IDS, torch.float32)
    assert not any(type(module) is nn.Linear for module in packed.modules())
    torch.testing.assert_close(logits(packed), logits(stock), atol=1e-6, rtol=1e-6)


@x86
@pytest.mark.parametrize("architecture", sorted(tiny.ARCHITECTURES))
def test_the_feed_forward_activation_is_part_of_its_product(architecture: str) -> None:
    model = tiny.model(["a", "b"], architecture)
    before = [name for name, module in model.named_modules() if isinstance(module, GELUActivation)]
    assert len(before) >= 2
    pack_products(model, IDS, torch.float32)
    fused = {name for name in before if isinstance(model.get_submodule(name), nn.Identity)}
    assert {name for name in before if "layer" in name} <= fused


def test_a_product_that_something_else_reads_too_is_left_alone() -> None:
    model = tiny.model(["a", "b"])
    block = model.bert.encoder.layer[0].intermediate

    def forward(hidden: torch.Tensor) -> torch.Tensor:
        between = block.dense(hidden)
        return block.intermediate_act_fn(between) + between

    block.forward = forward
    with torch.inference_mode():
        before = model(**INPUTS).logits
        assert not pack_products(model, IDS, torch.float32)
        torch.testing.assert_close(model(**INPUTS).logits, before, atol=0, rtol=0)


@x86
def test_bfloat16_products_are_those_of_autocast() -> None:
    stock, packed = (tiny.model(["a", "b", "c"]) for _ in range(2))
    pack_products(packed, IDS, torch.bfloat16)
    exact = logits(tiny.model(["a", "b", "c"]))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours, theirs = logits(packed).float(), logits(stock).float()
    assert not torch.equal(ours, exact)
    assert (ours - exact).abs().max() <= 1.5 * (theirs - exact).abs().max()
