import math
from types import SimpleNamespace

import pytest
import torch

from muki_pipeline.labelling.network import bfloat16
from tests import tiny
from tests.pipeline.labelling.network.passes import passes, plain, stay

HELD = SimpleNamespace(
    __name__="held",
    applies=lambda model, probe: True,
    apply=lambda model, probe, undo: bfloat16.hold(model, undo),
    prove=lambda model, probe: probe.agrees(model, within=math.inf),
)
"""As on a GPU."""


@pytest.mark.parametrize("architecture", [*sorted(tiny.ARCHITECTURES), "gpt2"])
def test_a_network_held_in_bfloat16_says_nearly_the_same(architecture: str) -> None:
    exact, held = (tiny.model(["a", "b", "c"], architecture) for _ in range(2))
    exact.config.pad_token_id = held.config.pad_token_id = 0
    found = passes(held, HELD, dtype=torch.bfloat16)
    assert held.base_model.dtype == torch.bfloat16
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, passes(exact), atol=0.15, rtol=0)


def test_a_network_that_takes_float32_alone_stays_as_it_was() -> None:
    model, same = tiny.model(["a", "b"]), tiny.model(["a", "b"])
    block = model.bert.encoder.layer[0].intermediate
    forward = block.forward
    block.forward = lambda hidden: forward(hidden + torch.zeros(1))  # float32
    assert not stay(model, HELD)
    assert model.dtype == torch.float32
    assert torch.equal(plain(model), plain(same))


def test_a_network_that_does_not_fit_is_no_network_of_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny.model(["a", "b"])
    forward = model.forward

    def full(*arguments: object, **inputs: object) -> object:
        if model.dtype == torch.bfloat16:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(*arguments, **inputs)

    monkeypatch.setattr(model, "forward", full)
    with pytest.raises(torch.OutOfMemoryError):
        stay(model, HELD)
