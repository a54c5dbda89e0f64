import pytest
import torch

from muki_pipeline.labelling.network import attention
from muki_pipeline.labelling.network.attention import OneKernelAttention, in_one_kernel
from muki_pipeline.labelling.network.masks import Masks
from muki_pipeline.labelling.network.network import transform
from tests import tiny
from tests.pipeline.labelling.network.passes import IDS, passes

HEADS, SIZE, P = 3, 8, 0.25


@pytest.mark.parametrize("tokens", [1, 7, 16, 33])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("positions", [False, True])
def test_one_kernel_is_dropout_after_softmax(tokens: int, padded: bool, positions: bool) -> None:
    """Against the formula in double precision: the kernel itself drops nothing."""
    draw = torch.Generator().manual_seed(tokens)
    query, key, value = (torch.randn(4, HEADS, tokens, SIZE, generator=draw) for _ in range(3))
    kept = (torch.rand(HEADS, tokens, tokens, generator=draw) >= P).float()
    biases = []
    if padded:
        padding = torch.zeros(4, 1, 1, tokens)
        padding[1, ..., tokens // 2 + 1 :] = torch.finfo(torch.float32).min
        biases.append(padding.expand(-1, -1, tokens, -1))
    if positions:
        biases.append(torch.randn(1, HEADS, tokens, tokens, generator=draw))
    scores = 0.3 * (query.double() @ key.double().transpose(-1, -2)) + sum(bias.double() for bias in biases)
    expected = (torch.softmax(scores, dim=-1) * kept.double() / (1 - P)) @ value.double()
    found = in_one_kernel(query, key, value, biases, 0.3, kept, P)
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=1e-5)


class OnAnyDevice(OneKernelAttention):
    """As on a GPU."""

    def applies(self, model: object) -> bool:
        return True


def test_long_texts_take_the_kernel_and_its_numbers_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = passes(tiny.model(["a", "b", "c"]))
    calls: list[int] = []

    def counted(*arguments: torch.Tensor) -> torch.Tensor:
        calls.append(arguments[1].shape[2])
        return in_one_kernel(*arguments)

    monkeypatch.setattr(attention, "in_one_kernel", counted)
    monkeypatch.setattr(attention, "_ONE_KERNEL_FROM", 7)
    masks = Masks(0, "t")
    found = passes(tiny.model(["a", "b", "c"]), OnAnyDevice(masks), masks=masks)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert len(calls) == 1 + 2 * 2  # the proof, and two layers in two passes


def test_a_kernel_that_computes_something_else_is_withdrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "in_one_kernel", lambda query, key, value, *others: value)
    masks = Masks(0, "t")
    assert transform(tiny.model(["a", "b"]), IDS, [OnAnyDevice(masks)]) == []
    assert masks.one_kernel_from is None
