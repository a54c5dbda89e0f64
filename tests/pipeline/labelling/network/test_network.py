import platform

import pytest
import torch
from torch import nn

from muki_pipeline.labelling.network import packed
from muki_pipeline.labelling.network.network import Network
from tests import tiny
from tests.pipeline.labelling.network.passes import IDS, INPUTS, plain

FLOAT32 = ["PooledOnly", "PackedProducts", "KeyedDropout"]
BFLOAT16 = ["PooledOnly", "PackedProducts", "Bfloat16Layers", "KeyedDropout"]
x86 = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="only x86 CPUs pack products")


def network(model: nn.Module, dtype: torch.dtype = torch.float32) -> Network:
    return Network(model, dtype=dtype, seed=0, teacher="t", token_ids=IDS)


@x86
@pytest.mark.parametrize(("dtype", "applied"), [(torch.float32, FLOAT32), (torch.bfloat16, BFLOAT16)])
def test_what_a_network_on_a_cpu_goes_through(
    dtype: torch.dtype, applied: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed, "_supported", lambda dtype: True)
    assert network(tiny.model(["a", "b"]), dtype).applied == applied


def test_a_forward_pass_depends_on_its_number_alone() -> None:
    model, stock = tiny.model(["a", "b", "c"]), tiny.model(["a", "b", "c"])
    mine = network(model)
    first, second, first_again = (mine.forward(INPUTS, number) for number in (0, 1, 0))
    assert torch.equal(first, first_again)
    assert not torch.equal(first, second)
    torch.testing.assert_close(mine.forward(INPUTS, None), plain(stock), atol=1e-5, rtol=1e-5)


def test_two_networks_do_not_share_their_masks() -> None:
    one, other = (
        Network(tiny.model(["a", "b"]), dtype=torch.float32, seed=0, teacher=name, token_ids=IDS) for name in "uv"
    )
    first = one.forward(INPUTS, 0)
    assert not torch.equal(other.forward(INPUTS, 0), first)
    assert torch.equal(one.forward(INPUTS, 0), first)
