"""Which labels hardly any text is taught as."""

from collections import Counter

import numpy as np

from muki_pipeline.labels.space import unite
from muki_pipeline.supervision.summary import Starved, Sums, pairs, starved_labels

SPACE = unite({"one": ["a", "b"], "two": ["b", "c"]}, {})
SURE = np.eye(2)


def test_pairs_count_each_label_that_a_teacher_gives_a_text_once() -> None:
    target = np.eye(3)[[0, 1, 2, 2]]
    one, two = SURE[[0, 1, 1, 0]], SURE[[1, 0, 0, 1]]
    is_silent = np.array([[False, True], [False, False], [False, False], [False, False]])
    # a: silent c; b and b; b and b; a and c
    expected = {(0, 0): 1, (1, 1): 1, (1, 2): 1, (0, 2): 1, (2, 2): 1}
    assert pairs(target, [one, two], is_silent, SPACE) == expected


def test_a_label_whose_texts_another_one_takes_is_named_with_its_rival() -> None:
    labels = ["lost", "stolen", "refund", "rare"]
    taught_as = {(0, 1): 39, (0, 0): 2, (0, 2): 1, (1, 1): 80, (2, 2): 60, (2, 1): 20, (3, 2): 9}
    taught = Counter({1: 139, 2: 70, 0: 2})
    assert starved_labels(taught_as, taught, labels) == [Starved("lost", 42, 2, "stolen", 39)]
    assert starved_labels({}, Counter(), labels) == []
    assert starved_labels({(0, 0): 100, (1, 1): 100}, Counter({0: 900, 1: 20}), labels) == []


def test_a_rival_does_not_depend_on_which_shard_comes_first() -> None:
    shards = [{(0, 1): 20, (1, 1): 50, (2, 2): 50}, {(0, 2): 20, (1, 1): 50, (2, 2): 50}]
    found = []
    for order in (shards, shards[::-1]):
        sums = Sums.none(2)
        for each in order:
            sums.add(Sums(100, 0, np.array([60, 40]), Counter({1: 60, 2: 60}), Counter(each)))
        assert (sums.taught, sums.chosen.tolist()) == (200, [120, 80])
        found += starved_labels(sums.taught_as, sums.targets, ["lost", "stolen", "refund"])
    assert found == [Starved("lost", 40, 0, "stolen", 20)] * 2


def test_many_teachers_make_no_label_seem_starved() -> None:
    # Ten teachers of one label each: everybody gives every text its label, and a tenth of them are its own.
    taught_as = {(answer, target): 10 for answer in range(10) for target in range(10)}
    assert starved_labels(taught_as, Counter(dict.fromkeys(range(10), 10)), [str(n) for n in range(10)]) == []
