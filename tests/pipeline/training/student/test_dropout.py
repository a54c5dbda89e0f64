import pytest
import torch
from torch import nn

from muki_pipeline.training.student.dropout import CheapDropout
from tests import tiny


def dropped(x: torch.Tensor, p: float) -> torch.Tensor:
    with CheapDropout():
        result: torch.Tensor = nn.Dropout(p)(x)
    return result


@pytest.mark.parametrize("p", [0.1, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("shape", [(7, 31, 33), (501, 77)])
def test_each_element_is_dropped_by_itself(p: float, shape: tuple[int, ...]) -> None:
    result = dropped(torch.ones(shape), p)
    gone = (result == 0).float()
    assert result.unique().tolist() == pytest.approx([0.0, 1 / (1 - round(p * 256) / 256)])
    assert gone.mean().item() == pytest.approx(p, abs=0.03)
    for axis in range(len(shape)):  # neighbours along no axis go together
        pair = gone.narrow(axis, 1, shape[axis] - 1) * gone.narrow(axis, 0, shape[axis] - 1)
        assert pair.mean().item() == pytest.approx(p**2, abs=0.04)


def test_of_a_p_near_1_some_elements_stay() -> None:
    assert dropped(torch.ones(3, 100, 100), 0.9999).isfinite().all()


def test_a_seed_gives_the_same_masks_and_then_others() -> None:
    torch.manual_seed(3)
    first, second = dropped(torch.ones(4, 50, 20), 0.5), dropped(torch.ones(4, 50, 20), 0.5)
    torch.manual_seed(3)
    assert torch.equal(dropped(torch.ones(4, 50, 20), 0.5), first)
    assert not torch.equal(first, second)


def test_attention_drops_nothing_and_neither_does_evaluation() -> None:
    attention = torch.rand(2, 3, 4, 4)
    assert torch.equal(dropped(attention, 0.5), attention)
    x = torch.rand(2, 3, 4)
    with CheapDropout():
        assert torch.equal(nn.Dropout(0.5).eval()(x), x)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_a_models_attention_drops_nothing_however_it_is_computed(attention: str) -> None:
    model = tiny.model(["a", "b"], hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.5).train()
    model.set_attn_implementation(attention)
    read = torch.tensor([[2, 7, 8, 9, 3]])
    before = model(input_ids=read).logits
    assert not torch.equal(model(input_ids=read).logits, before)
    with CheapDropout():
        assert torch.equal(model(input_ids=read).logits, model(input_ids=read).logits)


@pytest.mark.parametrize("given", [(None, 0.5), (None,)])
def test_attentions_dropout_may_be_named_or_not(given: tuple[float | None, ...]) -> None:
    states = torch.rand(1, 2, 4, 8)
    named = {} if len(given) > 1 else {"dropout_p": 0.5}
    plain = nn.functional.scaled_dot_product_attention(states, states, states)
    with CheapDropout():
        assert torch.equal(nn.functional.scaled_dot_product_attention(states, states, states, *given, **named), plain)


def test_gradients_pass_where_elements_stay() -> None:
    x = torch.rand(2, 6, 7, requires_grad=True)
    result = dropped(x, 0.5)
    result.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, torch.where(result == 0, 0.0, 2.0))
