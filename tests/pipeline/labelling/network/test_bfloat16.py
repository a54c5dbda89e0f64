import pytest
import torch

from muki_pipeline.labelling.network.bfloat16 import HeldInBfloat16
from muki_pipeline.labelling.network.network import transform
from tests import tiny
from tests.pipeline.labelling.network.passes import IDS, passes, plain


class Held(HeldInBfloat16):
    """As on a GPU."""

    def __init__(self) -> None:
        super().__init__(torch.bfloat16)

    def applies(self, model: object) -> bool:
        return True


@pytest.mark.parametrize("architecture", [*sorted(tiny.ARCHITECTURES), "gpt2"])
def test_a_network_held_in_bfloat16_says_nearly_the_same(architecture: str) -> None:
    exact, held = (tiny.model(["a", "b", "c"], architecture) for _ in range(2))
    exact.config.pad_token_id = held.config.pad_token_id = 0
    found = passes(held, Held(), dtype=torch.bfloat16)
    assert held.base_model.dtype == torch.bfloat16
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, passes(exact), atol=0.15, rtol=0)


def test_a_network_that_takes_float32_alone_stays_as_it_was() -> None:
    model, same = tiny.model(["a", "b"]), tiny.model(["a", "b"])
    block = model.bert.encoder.layer[0].intermediate
    forward = block.forward
    block.forward = lambda hidden: forward(hidden + torch.zeros(1))  # float32
    assert transform(model, IDS, [Held()]) == []
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
        transform(model, IDS, [Held()])
