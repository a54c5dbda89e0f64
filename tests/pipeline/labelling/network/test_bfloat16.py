import pytest
import torch

from muki_pipeline.labelling.network.bfloat16 import hold_in_bfloat16
from tests import tiny
from tests.pipeline.labelling.network.test_packed_linear import IDS, logits


@pytest.mark.parametrize("architecture", [*sorted(tiny.ARCHITECTURES), "gpt2"])
def test_a_network_held_in_bfloat16_says_nearly_the_same(architecture: str) -> None:
    exact, held = (tiny.model(["a", "b", "c"], architecture) for _ in range(2))
    if architecture == "gpt2":
        exact.config.pad_token_id = held.config.pad_token_id = 0
    assert hold_in_bfloat16(held, IDS)
    assert held.base_model.dtype == torch.bfloat16
    found = logits(held)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, logits(exact), atol=0.15, rtol=0)


def test_a_network_that_takes_float32_alone_stays_as_it_was() -> None:
    model, same = tiny.model(["a", "b"]), tiny.model(["a", "b"])
    block = model.bert.encoder.layer[0].intermediate
    forward = block.forward
    block.forward = lambda hidden: forward(hidden + torch.zeros(1))  # float32
    assert not hold_in_bfloat16(model, IDS)
    assert model.dtype == torch.float32
    assert torch.equal(logits(model), logits(same))


def test_a_network_that_does_not_fit_is_no_network_of_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny.model(["a", "b"])

    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(model, "forward", full)
    with pytest.raises(torch.OutOfMemoryError):
        hold_in_bfloat16(model, IDS)
