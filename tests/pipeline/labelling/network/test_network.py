import platform

import pytest
import torch

from muki_pipeline.labelling.network import bfloat16, dropout, packed, pooled
from tests import tiny
from tests.pipeline.labelling.network.passes import INPUTS, bfloat16_cpu, network, plain

x86 = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="only x86 CPUs pack products")


@x86
@pytest.mark.parametrize("dtype", [torch.float32, pytest.param(torch.bfloat16, marks=bfloat16_cpu)])
def test_what_a_network_on_a_cpu_goes_through(dtype: torch.dtype) -> None:
    low = [bfloat16] if dtype == torch.bfloat16 else []
    assert network(tiny.model(["a", "b"]), dtype).applied == [pooled, packed, *low, dropout]


def test_a_forward_pass_depends_on_its_number_alone() -> None:
    model, stock = tiny.model(["a", "b", "c"]), tiny.model(["a", "b", "c"])
    mine = network(model)
    first, second, first_again = (mine.forward(INPUTS, number) for number in (0, 1, 0))
    assert torch.equal(first, first_again)
    assert not torch.equal(first, second)
    torch.testing.assert_close(mine.forward(INPUTS, None), plain(stock), atol=1e-5, rtol=1e-5)


def test_two_networks_do_not_share_their_masks() -> None:
    one, other = (network(tiny.model(["a", "b"]), teacher=name) for name in "uv")
    first = one.forward(INPUTS, 0)
    assert not torch.equal(other.forward(INPUTS, 0), first)
    assert torch.equal(one.forward(INPUTS, 0), first)
