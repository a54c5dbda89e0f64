from itertools import product

import numpy as np
import pytest

from muki_pipeline.evaluation.evaluate import metrics


def test_accuracy_and_macro_f1_by_hand() -> None:
    gold, predicted = np.array([0, 0, 1, 2]), np.array([0, 1, 1, 1])
    assert metrics.accuracy(predicted, gold) == 0.5
    # label 0: 2/3, label 1: 1/2, label 2: 0; label 3 occurs nowhere and does not count
    assert metrics.macro_f1(predicted, gold, 4) == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)


def test_calibration_error_by_hand() -> None:
    probs = np.array([[0.95, 0.05], [0.95, 0.05], [0.6, 0.4], [1.0, 0.0]])
    gold = np.array([0, 1, 0, 0])
    # bins of 1/15: (14/15, 1] holds 0.95, 0.95, 1.0 with two right, (8/15, 9/15] holds 0.6
    expected = (abs(0.95 + 0.95 + 1.0 - 2) + abs(0.6 - 1)) / 4
    assert metrics.expected_calibration_error(probs, gold) == pytest.approx(expected)


def test_auroc_by_hand_with_ties() -> None:
    scores, positive = np.array([0.1, 0.4, 0.4, 0.8]), np.array([False, True, False, True])
    assert metrics.auroc(scores, positive) == pytest.approx((1 + 0.5 + 1 + 1) / 4)
    assert metrics.auroc(-scores, positive) == pytest.approx(1 - 3.5 / 4)
    assert metrics.auroc(scores, np.ones(4, dtype=bool)) is None


def test_auroc_agrees_with_counting_pairs() -> None:
    drawn = np.random.default_rng(0)
    scores, positive = drawn.integers(0, 20, 200) / 20, drawn.random(200) < 0.3
    pairs = scores[positive][:, None] - scores[~positive][None, :]
    assert metrics.auroc(scores, positive) == pytest.approx(((pairs > 0) + 0.5 * (pairs == 0)).mean())


def test_kl_to_gold_by_hand() -> None:
    targets = np.array([[0.5, 0.5], [0.25, 0.75]], dtype=np.float32)
    np.testing.assert_allclose(metrics.kl_to_gold(targets, np.array([0, 0])), [np.log(2), np.log(4)])
    assert metrics.kl_to_gold(np.array([[0.0, 1.0]]), np.array([0])) == [np.inf]


def test_a_paired_bootstrap_of_few_texts_by_every_draw() -> None:
    """Of 5 texts there are 5^5 draws: p is the share of those whose centred mean is as far off as the mean seen."""
    first, second = np.array([1.0, 1.0, 1.0, 0.0, 1.0]), np.array([0.0, 0.0, 1.0, 0.0, 0.0])
    differences = first - second
    draws = np.array(list(product(differences - differences.mean(), repeat=5))).mean(axis=1)
    expected = (np.abs(draws) >= differences.mean() - 1e-9).mean()
    seen, p = metrics.paired_bootstrap(first, second)
    assert seen == pytest.approx(0.6)
    assert p == pytest.approx(expected, abs=0.01)
    assert metrics.paired_bootstrap(second, first)[0] == pytest.approx(-0.6)
    assert metrics.paired_bootstrap(first, first) == (0.0, 1.0)


def test_a_clear_difference_has_the_least_p() -> None:
    first, second = np.ones(200), np.array([1.0, 0.0] * 100)
    seen, p = metrics.paired_bootstrap(first, second, replicates=999)
    assert (seen, p) == (0.5, 1 / 1000)
