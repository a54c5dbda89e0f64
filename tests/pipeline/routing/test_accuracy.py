"""Which texts are asked about, and what their answers tell."""

import numpy as np
import pytest
from scipy.special import expit, logit

from muki_pipeline.routing.accuracy import (
    Share,
    chances,
    draw,
    missing,
    share_of_random,
    share_of_weighted,
    share_right,
)


def corpus(texts: int = 3000, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Posteriors that rank texts well and are wrong as numbers, and whether the right teacher was chosen."""
    drawn = np.random.default_rng(seed)
    certainty = expit(np.abs(drawn.normal(1.0, 2.5, texts)))
    return certainty, drawn.random(texts) < expit(0.4 + 1.7 * logit(certainty))


def test_chances_add_up_and_rise_with_doubt() -> None:
    certainty = np.array([0.5, 0.6, 0.9, 0.999, 1.0])
    found = chances(certainty, 5, 2)
    assert found.sum() == pytest.approx(2)
    assert (np.diff(found) < 0).all()
    assert found.min() > 0
    assert chances(certainty, 5, 9).tolist() == [1.0] * 5
    assert chances(None, 4, 2).tolist() == [0.5] * 4
    assert chances(np.ones(3), 3, 1) == pytest.approx(np.full(3, 1 / 3))
    crowded = chances(np.array([0.5, *[0.999999] * 99]), 100, 20)
    assert crowded[0] == 1.0
    assert crowded.sum() == pytest.approx(20)


def test_a_share_of_texts_drawn_with_unequal_chances_is_that_of_the_corpus() -> None:
    drawn = np.random.default_rng(0)
    certainty = drawn.uniform(0.5, 1.0, 4000)
    is_so = drawn.random(4000) < 1.4 * (1.0 - certainty)  # mostly unsure texts, which are asked about more often
    chance = chances(certainty, 4000, 200)
    found = []
    for seed in range(200):
        rows = draw(chance, 200, seed)
        found.append(share_of_weighted(is_so[rows], 1.0 / chance[rows]))
    assert np.mean([each.share for each in found]) == pytest.approx(is_so.mean(), abs=0.01)
    assert np.mean([each.low < is_so.mean() < each.high for each in found]) > 0.9
    assert share_of_weighted(np.array([True, False]), np.ones(2)).share == 0.5


def test_texts_are_drawn_with_their_chances() -> None:
    chance = chances(np.linspace(0.5, 1.0, 50), 50, 10)
    times = np.zeros(50)
    for seed in range(2000):
        rows = draw(chance, 10, seed)
        assert len(set(rows.tolist())) == 10
        times[rows] += 1
    np.testing.assert_allclose(times / 2000, chance, atol=0.04)


def test_a_few_answers_tell_the_share_with_an_honest_and_narrow_interval() -> None:
    certainty, is_right = corpus()
    truth, chance = is_right.mean(), chances(certainty, len(certainty), 60)
    found = []
    for seed in range(100):
        rows = draw(chance, 60, seed)
        found.append(share_right(certainty, certainty[rows], is_right[rows]))
    assert np.mean([each.low <= truth <= each.high for each in found]) >= 0.93
    width = np.mean([each.high - each.low for each in found])
    at_random = share_of_random(round(60 * truth), 60)
    assert width < 0.85 * (at_random.high - at_random.low)


def test_a_posterior_that_is_always_sure_and_often_wrong_is_found_out() -> None:
    certainty = np.full(1000, 0.999)
    rows = np.arange(80)
    found = share_right(certainty, certainty[rows], rows % 2 == 0)
    assert found.low < 0.5 < found.high


def test_how_many_answers_are_missing() -> None:
    assert missing(Share(0.9, 0.85, 0.95), 50, 1000) == 150
    assert missing(Share(0.9, 0.85, 0.95), 50, 9) == 9
    assert missing(Share(0.9, 0.88, 0.92), 50, 1000) == 0
