import numpy as np
import pytest

from muki_pipeline.errors import MukiError
from muki_pipeline.labels.space import unite


def test_union_with_overlap_and_aliases() -> None:
    vocabulary = unite({"a": ["x", "y"], "b": ["why", "z"]}, {"b": {"why": "y"}})
    assert vocabulary.labels == ("x", "y", "z")
    assert [columns.tolist() for columns in vocabulary.columns] == [[0, 1], [1, 2]]
    np.testing.assert_array_equal(vocabulary.known, [[True, False], [True, True], [False, True]])


def test_relabelling_commutes_with_union() -> None:
    renames = {"x": "X", "y": "Y"}
    aliased = unite({"a": ["x", "y"], "b": ["y", "z"]}, {"a": renames, "b": {"y": "Y"}})
    plain = unite({"a": ["x", "y"], "b": ["y", "z"]}, {})
    assert aliased.labels == tuple(renames.get(label, label) for label in plain.labels)
    for ours, theirs in zip(aliased.columns, plain.columns, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_an_alias_of_an_unknown_label_is_refused() -> None:
    with pytest.raises(MukiError, match=r"teacher a has no label 'q', only 'x', 'y'"):
        unite({"a": ["x", "y"]}, {"a": {"q": "x"}})


def test_an_alias_that_merges_two_labels_of_one_teacher_is_refused() -> None:
    with pytest.raises(MukiError, match=r"two labels of teacher a would both be called 'y'"):
        unite({"a": ["x", "y"]}, {"a": {"x": "y"}})
