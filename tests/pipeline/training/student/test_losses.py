import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from muki_pipeline.training.student.losses import integration_loss, uhc_loss


def test_loss_by_hand() -> None:
    logits = torch.log(torch.tensor([[0.5, 0.5], [0.25, 0.75]]))
    target = torch.tensor([[1.0, 0.0], [0.25, 0.75]])
    loss = integration_loss(logits, target, torch.tensor([3.0, 5.0]), 1.0)
    assert loss.item() == pytest.approx(3 * np.log(2) / 2)


def test_uhc_loss_by_hand() -> None:
    logits = torch.log(torch.tensor([[0.1, 0.3, 0.6]]))
    targets = torch.tensor([[1.0, 0.0, 0.5, 0.5]])  # one teacher knows columns 0 and 1, the other 1 and 2
    loss = uhc_loss(logits, targets, [[0, 1], [1, 2]], torch.tensor([2.0]), 1.0)
    first = -np.log(0.1 / 0.4)
    second = 0.5 * np.log(0.5 / (0.3 / 0.9)) + 0.5 * np.log(0.5 / (0.6 / 0.9))
    assert loss.item() == pytest.approx(2 * (first + second), rel=1e-5)


LOGITS = arrays(np.float32, (4, 3), elements=st.floats(-50, 50, width=32))


@given(LOGITS, LOGITS, st.floats(0.5, 8))
def test_loss_is_the_weighted_divergence_of_the_tempered_student(
    student: np.ndarray, teacher: np.ndarray, temperature: float
) -> None:
    target = torch.softmax(torch.from_numpy(teacher) / temperature, dim=-1)
    weight = torch.tensor([0.0, 1.0, 2.0, 0.5])
    loss = integration_loss(torch.from_numpy(student), target, weight, temperature)
    log_p = torch.log_softmax(torch.from_numpy(student).double() / temperature, dim=-1)
    divergence = (torch.special.xlogy(target.double(), target.double()) - target.double() * log_p).sum(-1)
    assert loss.item() == pytest.approx((weight * divergence).mean().item() * temperature**2, rel=1e-4, abs=1e-4)
    own = torch.softmax(torch.from_numpy(student) / temperature, dim=-1)
    assert integration_loss(torch.from_numpy(student), own, weight, temperature).item() == pytest.approx(0, abs=1e-4)
