import math
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from muki_pipeline import config
from muki_pipeline.labels.space import unite
from muki_pipeline.routing.confidence import energy, softmax
from muki_pipeline.supervision.strategies import (
    MARGIN_FLOOR,
    SILENT,
    STRATEGIES,
    best_teacher,
    concat_weights,
    golden_targets,
    hard_weights,
    soft_weights,
    teacher_margins,
)

SCORES = arrays(np.float64, (6, 3), elements=st.floats(0, 1))
VOCABULARY = unite({"a": ["x", "y"], "b": ["y", "z"], "c": ["u", "v", "x"]}, {})


def distributions(seed: int) -> list[np.ndarray]:
    drawn = np.random.default_rng(seed)
    return [drawn.dirichlet(np.full(size, 0.2), 6) for size in (2, 2, 3)]


def test_the_settings_name_every_strategy() -> None:
    assert {*get_args(config.Integrate.model_fields["strategy"].annotation)} == {*STRATEGIES}
    assert {*config.NEED_SCORES} == {name for name, each in STRATEGIES.items() if each.selects}
    assert {*config.NEED_POSTERIOR} == {name for name, each in STRATEGIES.items() if each.needs_posterior}
    assert {*config.NEED_LOGITS} == {name for name, each in STRATEGIES.items() if each.reads_energies}


def test_soft_weights_by_hand() -> None:
    np.testing.assert_allclose(soft_weights(np.array([[0.2, 0.2 + 0.2 * math.log(3)]]), 0.2), [[0.25, 0.75]])


def test_hard_weights_take_the_first_of_equals() -> None:
    np.testing.assert_array_equal(hard_weights(np.array([[0.3, 0.9, 0.9], [0.5, 0.5, 0.5]])), [[0, 1, 0], [1, 0, 0]])


def test_targets_by_hand_with_a_shared_label() -> None:
    weights = np.array([[0.25, 0.75]])
    vocabulary = unite({"a": ["x", "y"], "b": ["y", "z"]}, {})
    targets = golden_targets(weights, [np.array([[0.4, 0.6]]), np.array([[0.2, 0.8]])], vocabulary)
    np.testing.assert_allclose(targets, [[0.1, 0.15 + 0.15, 0.6]], rtol=1e-6)


def test_probabilities_of_exactly_zero_pass_through() -> None:
    vocabulary = unite({"a": ["x", "y"], "b": ["z", "u"]}, {})
    targets = golden_targets(np.array([[1.0, 0.0]]), [np.array([[0.0, 1.0]]), np.array([[0.5, 0.5]])], vocabulary)
    np.testing.assert_array_equal(targets, [[0, 1, 0, 0]])


@given(SCORES, st.integers(0, 100), st.floats(0.01, 10))
def test_targets_are_distributions(scores: np.ndarray, seed: int, temperature: float) -> None:
    for strategy in STRATEGIES.values():
        weights = strategy.weigh(softmax(scores) if strategy.needs_posterior else scores, 3 * scores, temperature)
        np.testing.assert_allclose(weights.sum(axis=1), 1)
        targets = golden_targets(weights, distributions(seed), VOCABULARY)
        assert targets.dtype == np.float32
        assert (targets >= 0).all()
        np.testing.assert_allclose(targets.sum(axis=1), 1, atol=1e-6)


@given(SCORES, st.integers(0, 100), st.permutations(range(3)))
def test_permuting_teachers_permutes_columns_and_nothing_else(scores: np.ndarray, seed: int, order: list[int]) -> None:
    teachers = {"a": ["x", "y"], "b": ["y", "z"], "c": ["u", "v", "x"]}
    names = list(teachers)
    permuted = unite({names[number]: teachers[names[number]] for number in order}, {})
    said = distributions(seed)
    targets = golden_targets(soft_weights(scores, 0.2), said, VOCABULARY)
    others = golden_targets(soft_weights(scores[:, order], 0.2), [said[number] for number in order], permuted)
    columns = [permuted.labels.index(label) for label in VOCABULARY.labels]
    np.testing.assert_allclose(others[:, columns], targets, atol=1e-7)
    np.testing.assert_allclose(teacher_margins(scores[:, order]), teacher_margins(scores))


def test_concat_is_one_softmax_over_all_logits() -> None:
    drawn = np.random.default_rng(0)
    logits = [drawn.normal(size=(6, size)) * 3 for size in (2, 2, 3)]
    for temperature in (1.0, 5.0):
        whole = softmax(np.concatenate(logits, axis=1), temperature)  # x y | y z | u v x
        weights = concat_weights(np.stack([energy(each / temperature) for each in logits], axis=1))
        targets = golden_targets(weights, [softmax(each, temperature) for each in logits], VOCABULARY)
        summed = {"x": [0, 6], "y": [1, 2], "z": [3], "u": [4], "v": [5]}
        for column, label in enumerate(VOCABULARY.labels):
            np.testing.assert_allclose(targets[:, column], whole[:, summed[label]].sum(axis=1), rtol=1e-5)


def test_teacher_margins_by_hand() -> None:
    scores = np.array([[0.9, 0.2, 0.7], [0.5, 0.5, 0.1]])
    np.testing.assert_allclose(teacher_margins(scores), [0.2 + MARGIN_FLOOR, MARGIN_FLOOR])
    silent = np.array([[SILENT, 1, 2], [0, SILENT, 2]])
    np.testing.assert_allclose(teacher_margins(scores, silent), [0.0, 0.0], atol=2e-6)
    standardised = np.array([[-1.0, -3.0, -2.0]])
    np.testing.assert_allclose(teacher_margins(standardised, np.array([[0, 1, 2]])), [1.0], atol=2e-6)


def test_teachers_that_agree_do_not_conflict() -> None:
    posterior = np.array([[0.5, 0.5, 0.0], [0.3, 0.3, 0.4], [0.2, 0.2, 0.6], [0.4, 0.3, 0.3]])
    answers = np.array([[4, 4, 9], [4, 4, 9], [4, 4, 9], [4, 4, 4]])
    np.testing.assert_allclose(teacher_margins(posterior, answers), [1.0, 0.2, 0.2, 1.0], atol=2e-6)
    chosen = posterior.argmax(axis=1)
    np.testing.assert_allclose(teacher_margins(posterior, answers, chosen), [1.0, 0.0, 0.2, 1.0], atol=2e-6)
    apart = teacher_margins(posterior, np.tile([4, 5, 6], (4, 1)))
    np.testing.assert_allclose(apart, teacher_margins(posterior), atol=1e-12)
    silent = np.array([[SILENT, SILENT, 9], [4, SILENT, SILENT], [4, SILENT, 9], [4, SILENT, 4]])
    np.testing.assert_allclose(teacher_margins(posterior, silent), [0.0, 0.0, 0.4, 0.4], atol=2e-6)


def test_one_teacher_is_plain_distillation() -> None:
    vocabulary = unite({"a": ["x", "y"]}, {})
    scores, said = np.array([[0.1], [0.9]]), softmax(np.array([[1.0, 2.0], [3.0, 1.0]]))
    np.testing.assert_allclose(golden_targets(soft_weights(scores, 0.2), [said], vocabulary), said, rtol=1e-6)
    np.testing.assert_array_equal(teacher_margins(scores), [1, 1])
    np.testing.assert_array_equal(best_teacher(scores), [0, 0])


def test_equal_scores_give_the_plain_average() -> None:
    np.testing.assert_allclose(soft_weights(np.full((2, 4), 0.3), 0.2), 0.25)


@pytest.mark.parametrize("label", ["x", "y", "z", "u", "v"])
def test_the_union_is_in_order_of_first_mention(label: str) -> None:
    assert VOCABULARY.labels.index(label) == ["x", "y", "z", "u", "v"].index(label)
