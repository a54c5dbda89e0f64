import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.uncertainty import confidence, entropy, entropy_of_logits, mutual_information, softmax

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


def test_scores_by_hand() -> None:
    logits = np.array([[0.0, 0.0, 0.0, 0.0]])
    averages, expected = np.array([math.log(2)]), np.array([math.log(2) / 2])
    assert confidence("mc_entropy", averages, expected, logits) == pytest.approx(0.5)
    assert confidence("entropy", averages, expected, logits) == pytest.approx(0.0)
    assert confidence("mutual_information", averages, expected, logits) == pytest.approx(0.75)


def test_uniform_teachers_of_any_label_count_score_alike() -> None:
    for labels in (2, 7, 150):
        uniform = np.array([math.log(labels)])
        assert confidence("mc_entropy", uniform, uniform, np.zeros((1, labels))) == pytest.approx(0.0)
