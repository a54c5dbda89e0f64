import pytest
import torch

from muki_pipeline.labelling.network.attention import in_one_kernel

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
