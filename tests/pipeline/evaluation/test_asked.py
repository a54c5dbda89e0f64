"""Samples for a person, and samples that go on after others."""

import numpy as np
import polars as pl
import pytest

from muki_pipeline.evaluation import asked
from muki_pipeline.evaluation.asked import Answered, Pool, draw_further, draw_texts

ROWS, DRAWS = 200, 400


def pool() -> tuple[Pool, np.ndarray]:
    """A corpus of which unsure texts are foreign more often; and which are."""
    random = np.random.default_rng(3)
    certainty = 0.5 + 0.5 * random.beta(3, 1, ROWS)
    return Pool(ROWS, certainty, ()), random.random(ROWS) < 2 * (1 - certainty)


def share(texts: pl.DataFrame, is_foreign: np.ndarray) -> float:
    weights = texts["stands_for"].to_numpy()
    return float(weights @ is_foreign[texts["row"].to_numpy()] / weights.sum())


@pytest.mark.parametrize("count", [70, 120, ROWS])
@pytest.mark.parametrize("further", [0.0, 0.5, 1.0])
def test_shares_are_told_however_far_a_larger_sample_is_answered(
    monkeypatch: pytest.MonkeyPatch, count: int, further: float
) -> None:
    corpus, is_foreign = pool()
    found = []
    for seed in range(DRAWS):
        monkeypatch.setattr(asked, "_SEED", seed)
        first = draw_texts(corpus, 60)[:40].with_columns(answer=pl.lit("x"))
        larger = draw_further(corpus, count, Answered(first, 60))
        assert larger[:40].equals(first)
        assert larger["row"].n_unique() == len(larger) == count
        assert (larger["stands_for"] >= 1).all()
        found.append(share(larger[: 40 + round(further * (count - 40))], is_foreign))
    error = np.std(found) / DRAWS**0.5
    assert abs(np.mean(found) - is_foreign.mean()) < 3 * error
    if further == 1.0:
        assert np.std(found) < 0.08


@pytest.mark.parametrize("answered", [20, 60])
def test_weights_of_both_samples_have_one_scale(answered: int) -> None:
    """Each text stands for as many, answered or not, where chances are alike; otherwise the sums are as the counts."""
    alike = Pool(ROWS, None, ())
    first = draw_texts(alike, 60)[:answered].with_columns(answer=pl.lit("x"))
    assert draw_further(alike, 120, Answered(first, 60))["stands_for"].unique().to_list() == [round(ROWS / 60, 3)]
    corpus, _ = pool()
    first = draw_texts(corpus, 60)[:answered].with_columns(answer=pl.lit("x"))
    weights = draw_further(corpus, 120, Answered(first, 60))["stands_for"].to_numpy()
    assert weights[answered:].sum() / weights[:answered].sum() == pytest.approx((120 - answered) / answered, rel=0.15)


def test_starved_texts_stay_what_they_are() -> None:
    corpus = Pool(100, None, [5, 6, 7])
    first = draw_texts(corpus, 20).with_columns(answer=pl.lit("x"))
    assert first["drawn"].to_list() == ["starved"] * first["stands_for"].null_count() + ["random"] * 17
    larger = draw_further(corpus, 30, Answered(first, 17))
    assert larger[:20].equals(first)
    assert (larger["drawn"][20:] == "random").all()
    only = draw_further(corpus, 10, Answered(first[:2], 17))
    assert only[:2].equals(first[:2])
    assert (only["stands_for"].is_null() == (only["drawn"] == "starved")).all()


def test_as_many_texts_are_asked_about_as_are_wanted() -> None:
    corpus = Pool(100, None, list(range(30)))
    for count in (40, 100, 200):
        asked = draw_texts(corpus, count)
        assert asked["row"].n_unique() == len(asked) == min(count, 100)
    assert "starved" in draw_texts(corpus, 40)["drawn"].to_list()
