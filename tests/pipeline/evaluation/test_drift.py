import pytest

from muki_pipeline.evaluation.drift import drift, words_of


def test_drift_by_hand() -> None:
    corpus = ["the cat", "the cat", "the cat", "the cat"]
    found = drift(corpus, ["The dog sat there", "the cat"])
    assert found is not None
    assert (found.median_words_corpus, found.median_words_test) == (2, 3)
    assert found.new_words_corpus == 0
    assert found.new_words_test == pytest.approx(3 / 6)


def test_the_same_texts_do_not_drift() -> None:
    texts = [f"w{row % 13} w{row % 7} w{row}" for row in range(400)]
    found = drift(texts[:200], texts[200:])
    assert found is not None
    assert found.new_words_test == pytest.approx(found.new_words_corpus, abs=0.02)


def test_without_words_nothing_is_said() -> None:
    assert drift(["...", "..."], ["a"]) is None
    assert drift(["a", "a"], ["..."]) is None


def test_scripts_without_spaces_have_pairs_of_characters() -> None:
    assert words_of(["iPhone手机很好, OK 好", "..."]) == [["iphone", "手机", "机很", "很好", "ok", "好"], []]
    corpus = ["银行转账很慢", "银行转账失败", "银行账户转账", "转账到银行"] * 5
    found = drift(corpus, ["足球比赛结果", "篮球比赛直播"])
    assert found is not None
    assert found.new_words_corpus < 0.2
    assert found.new_words_test == 1
