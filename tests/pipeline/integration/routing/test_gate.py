import numpy as np
import pytest

from pipeline.integration.confidence import softmax
from pipeline.integration.routing.calibration import calibrate
from pipeline.integration.routing.gate import FAIR, cotrain
from pipeline.integration.routing.words import WordIndex, WordView

TOPICS = [["ball", "goal", "team", "coach", "score"], ["star", "orbit", "moon", "rocket", "launch"]]
COMMON = ["the", "a", "of", "and", "it", "was"]


def corpus(rows: int, seed: int = 0) -> tuple[list[str], np.ndarray]:
    """Texts of two topics, each with words of its own among common ones, and whose each is."""
    drawn = np.random.default_rng(seed)
    owner = drawn.integers(0, 2, rows)
    texts = [" ".join([*drawn.choice(COMMON, 5), *drawn.choice(TOPICS[own], 3)]) for own in owner]
    return texts, owner


def scores(owner: np.ndarray, signal: float, seed: int = 1) -> np.ndarray:
    """Two noisy scores a teacher, the right teacher's higher by `signal` standard deviations."""
    drawn = np.random.default_rng(seed).normal(size=(len(owner), 2, 2))
    drawn[np.arange(len(owner)), owner] += signal
    return (drawn - drawn.mean(axis=0)) / drawn.std(axis=0)


def test_words_and_weak_scores_together_find_the_right_teacher() -> None:
    texts, owner = corpus(600)
    view = scores(owner, 0.5)
    alone = (view.sum(axis=-1).argmax(axis=1) == owner).mean()
    router = cotrain(view, view.sum(axis=-1), texts)
    together = (router(view, texts).argmax(axis=1) == owner).mean()
    assert alone < 0.8
    assert together > 0.95
    np.testing.assert_allclose(router(view, texts).sum(axis=1), 1)


def test_words_that_tell_nothing_do_no_harm() -> None:
    texts, owner = corpus(600)
    mixed = list(np.random.default_rng(5).permutation(texts))
    view = scores(owner, 2.0)
    alone = (view.sum(axis=-1).argmax(axis=1) == owner).mean()
    router = cotrain(view, view.sum(axis=-1), mixed)
    assert (router(view, mixed).argmax(axis=1) == owner).mean() > alone - 0.02
    assert router.agreement < FAIR


@pytest.mark.parametrize(("signal", "enough"), [(2.0, True), (0.1, False)])
def test_agreement_tells_whether_the_scores_are_fit_to_teach(signal: float, enough: bool) -> None:
    texts, owner = corpus(600)
    view = scores(owner, signal)
    assert (cotrain(view, view.sum(axis=-1), texts).agreement > FAIR) == enough


@pytest.mark.parametrize("texts", [[""] * 20, [f"unique{number}" for number in range(20)]])
def test_without_common_words_the_scores_decide(texts: list[str]) -> None:
    owner = np.arange(20) % 2
    view = scores(owner, 6.0)
    assert (cotrain(view, view.sum(axis=-1), texts)(view, texts).argmax(axis=1) == owner).all()


def test_one_teacher_is_always_right() -> None:
    texts, owner = corpus(30)
    view = scores(owner, 1.0)[:, :1]
    np.testing.assert_allclose(cotrain(view, view.sum(axis=-1), texts)(view, texts), 1)


def test_a_text_is_judged_the_same_alone_and_among_others() -> None:
    texts, owner = corpus(200)
    view = scores(owner, 1.0)
    router = cotrain(view, view.sum(axis=-1), texts)
    together = router(view, texts)
    for row in (0, 7, 199):
        np.testing.assert_allclose(router(view[row : row + 1], texts[row : row + 1])[0], together[row])


def test_a_text_never_votes_for_itself() -> None:
    texts = ["odd odd odd", "odd even", "even even", "even odd even"] * 3
    words = WordIndex(texts)
    bags = words.bags(texts)
    shares = np.full((12, 2), 0.5)
    changed = shares.copy()
    own = bags.folds == bags.folds[0]  # equal texts are in one fold
    changed[own] = [1.0, 0.0]
    before, after = (WordView(bags, each, len(words.table))(bags) for each in (shares, changed))
    np.testing.assert_allclose(after[own], before[own], atol=1e-9)
    assert not np.allclose(after[~own], before[~own])


def test_calibration_recovers_what_made_the_shares() -> None:
    drawn = np.random.default_rng(0)
    view = drawn.normal(size=(4000, 3, 2))
    slopes, offsets = np.array([[2.0, 0.5], [1.0, 1.0], [0.2, 1.5]]), np.array([0.5, -0.5, 0.0])
    found = calibrate(view, softmax((view * slopes).sum(axis=-1) + offsets))
    np.testing.assert_allclose(found.slopes, slopes, atol=0.05)
    np.testing.assert_allclose(found.offsets - found.offsets.mean(), offsets, atol=0.05)
