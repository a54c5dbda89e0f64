import math
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from muki_pipeline.routing.confidence import (
    CONFIDENCES,
    energy,
    entropy,
    entropy_of_logits,
    mutual_information,
    softmax,
    two_scores,
)

LOGITS = arrays(np.float32, (5, 4), elements=st.floats(-80, 80, width=32))


def test_entropy_by_hand() -> None:
    probs = np.array([[0.5, 0.25, 0.25], [1.0, 0.0, 0.0], [1 / 3, 1 / 3, 1 / 3]])
    np.testing.assert_allclose(entropy(probs), [1.5 * math.log(2), 0.0, math.log(3)], atol=1e-15)


@given(LOGITS, st.floats(-1000, 1000))
def test_entropy_in_log_space_is_entropy_of_the_softmax(logits: np.ndarray, shift: float) -> None:
    np.testing.assert_allclose(entropy_of_logits(logits), entropy(softmax(logits)), atol=1e-9)
    np.testing.assert_allclose(entropy_of_logits(logits.astype(float) + shift), entropy_of_logits(logits), atol=1e-9)


def test_entropy_in_log_space_stays_finite_where_probabilities_vanish() -> None:
    assert entropy_of_logits(np.array([[0.0, -5000.0]])) == pytest.approx(0.0)


def test_softmax_by_hand() -> None:
    np.testing.assert_allclose(softmax(np.array([[0.0, math.log(3)]])), [[0.25, 0.75]])
    np.testing.assert_allclose(softmax(np.array([[0.0, math.log(9)]]), 2.0), [[0.25, 0.75]])


def test_mutual_information_never_falls_below_zero() -> None:
    np.testing.assert_allclose(mutual_information(np.array([0.5, 0.2]), np.array([0.2, 0.2000001])), [0.3, 0.0])


@dataclass
class TeacherOutputs:
    """Stored numbers of one teacher."""

    logits: np.ndarray
    probs: np.ndarray
    entropy: np.ndarray
    expected_entropy: np.ndarray
    is_silent: np.ndarray = field(default_factory=lambda: np.zeros(1, dtype=bool))
    has_logits = has_samples = True


def test_confidences_by_hand() -> None:
    said = TeacherOutputs(
        logits=np.array([[0.0, 0.0, 0.0, math.log(3)]]),
        probs=np.array([[0.5, 0.5, 0.0, 0.0]], dtype=np.float32),
        entropy=np.array([math.log(2)], dtype=np.float32),
        expected_entropy=np.array([math.log(2) / 2], dtype=np.float32),
    )
    spread = 0.5 * math.log(6) + 0.5 * math.log(2)
    expected = {
        "mc_entropy": 0.5,
        "entropy": 1 - spread / math.log(4),
        "mutual_information": 0.75,
        "max_probability": 0.5,
        "mc_max_probability": 0.5,
        "energy": math.log(6),
    }
    assert expected.keys() == CONFIDENCES.keys()
    for name, value in expected.items():
        assert CONFIDENCES[name].measure(said, 4) == pytest.approx(value), name


def test_uniform_teachers_of_any_label_count_score_alike() -> None:
    for labels in (2, 7, 150):
        uniform = np.full(1, math.log(labels))
        said = TeacherOutputs(np.zeros((1, labels)), np.full((1, labels), 1 / labels), uniform, uniform)
        assert CONFIDENCES["mc_entropy"].measure(said, labels) == pytest.approx(0.0)
        assert CONFIDENCES["entropy"].measure(said, labels) == pytest.approx(0.0)


def test_nobody_is_less_sure_than_who_does_not_answer() -> None:
    uniform = np.full(2, math.log(4))
    said = TeacherOutputs(np.zeros((2, 4)), np.full((2, 4), 0.25), uniform, uniform, np.array([True, False]))
    assert CONFIDENCES["mutual_information"].measure(said, 4) == pytest.approx([0.0, 1.0])
    assert two_scores(said)[0, 1] == pytest.approx(-math.log(math.log(4)))


@given(LOGITS, st.floats(-1000, 1000))
def test_energy_moves_with_its_logits(logits: np.ndarray, shift: float) -> None:
    np.testing.assert_allclose(energy(logits.astype(float) + shift), energy(logits) + shift, atol=1e-9)
    assert (energy(logits) >= logits.max(axis=-1)).all()
