from typing import Any

import pytest
import torch
from torch import Tensor, nn

from muki_pipeline.labelling.network import attention
from muki_pipeline.labelling.network.attention import in_one_kernel
from tests import tiny
from tests.pipeline.labelling.network.passes import passes, stay

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


def test_long_texts_take_the_kernel_and_its_numbers_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = passes(tiny.model(["a", "b", "c"]))
    calls: list[int] = []

    def counted(*arguments: Any) -> Tensor:
        calls.append(arguments[1].shape[2])
        return in_one_kernel(*arguments)

    monkeypatch.setattr(attention, "in_one_kernel", counted)
    monkeypatch.setattr(attention, "_ONE_KERNEL_FROM", 7)
    monkeypatch.setattr(attention, "applies", lambda model, probe: True)  # as on a GPU
    found = passes(tiny.model(["a", "b", "c"]), attention)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert len(calls) == 1 + 2 * 2  # the proof, and two layers in two passes


def test_a_kernel_that_computes_something_else_is_withdrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing_dropped(query: Tensor, key: Tensor, value: Tensor, biases: Any, scale: float, *others: Any) -> Tensor:
        return nn.functional.scaled_dot_product_attention(query, key, value, scale=scale)

    monkeypatch.setattr(attention, "in_one_kernel", nothing_dropped)
    monkeypatch.setattr(attention, "applies", lambda model, probe: True)
    assert not stay(tiny.model(["a", "b"]), attention)
