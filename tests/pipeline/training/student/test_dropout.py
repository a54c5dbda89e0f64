import torch
from torch import nn

from muki_pipeline.training.student.dropout import SharedDropout


def dropped(x: torch.Tensor, p: float = 0.5) -> torch.Tensor:
    with SharedDropout():
        result: torch.Tensor = nn.Dropout(p)(x)
    return result


def test_texts_of_a_batch_share_a_mask() -> None:
    x = torch.ones(5, 40, 30)
    first, *others = dropped(x)
    assert all(torch.equal(first, other) for other in others)
    assert set(first.unique().tolist()) == {0.0, 2.0}
    assert 0.4 < (first == 0).float().mean() < 0.6
    assert not torch.equal(first, dropped(x)[0])


def test_the_mean_stays_what_it_is_in_bfloat16() -> None:
    x = torch.ones(2, 500, 400, dtype=torch.bfloat16)
    kept = dropped(x, 0.1)
    assert kept.float().unique().tolist() == [0.0, 1.109375]  # 1.1111 in bfloat16, rounded once
    assert abs(kept.float().mean().item() - 1) < 0.01


def test_attention_drops_nothing_and_vectors_have_masks_of_their_own() -> None:
    attention = torch.rand(2, 3, 4, 4)
    assert torch.equal(dropped(attention), attention)
    first, second = dropped(torch.ones(2, 1000))
    assert not torch.equal(first, second)


def test_evaluation_drops_nothing() -> None:
    x = torch.rand(2, 3, 4)
    with SharedDropout():
        assert torch.equal(nn.Dropout(0.5).eval()(x), x)


def test_gradients_pass_where_elements_stay() -> None:
    x = torch.rand(2, 6, 7, requires_grad=True)
    result = dropped(x)
    result.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, torch.where(result == 0, 0.0, 2.0))
