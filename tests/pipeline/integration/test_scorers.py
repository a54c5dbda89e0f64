from dataclasses import dataclass
from typing import get_args

import numpy as np
import pytest

from pipeline import config
from pipeline.evaluation.rules import RULES
from pipeline.integration.confidence import entropy, softmax
from pipeline.integration.scorers import SCORERS, TeacherOutputs


@dataclass
class Stored:
    logits: np.ndarray
    probs: np.ndarray
    entropy: np.ndarray
    expected_entropy: np.ndarray


def teacher(labels: int, sharpness: np.ndarray, seed: int) -> Stored:
    """A teacher whose logits are the larger and whose passes agree the better, the sharper."""
    drawn = np.random.default_rng(seed)
    logits = drawn.normal(size=(len(sharpness), labels)) * 0.1
    logits[:, 0] += 6 * sharpness
    passes = softmax(logits[None] + drawn.normal(size=(8, *logits.shape)) * (1.5 - sharpness)[None, :, None])
    probs = passes.mean(axis=0)
    return Stored(logits, probs.astype(np.float32), entropy(probs), entropy(passes).mean(axis=0))


@pytest.fixture(scope="module")
def said() -> tuple[TeacherOutputs, np.ndarray]:
    owner = np.arange(200) % 2
    teachers = [teacher(3, (owner == 0) * 0.8 + 0.1, 1), teacher(2, (owner == 1) * 0.8 + 0.1, 2)]
    texts = [f"the {'red' if own else 'blue'} one" for own in owner]
    return TeacherOutputs(texts, teachers, [3, 2]), owner


def part(said: TeacherOutputs, rows: slice) -> TeacherOutputs:
    teachers = [Stored(*(getattr(each, name)[rows] for name in each.__dataclass_fields__)) for each in said.teachers]
    return TeacherOutputs(said.texts[rows], teachers, said.label_counts)


def test_the_settings_name_every_scorer() -> None:
    scorers = get_args(config.Integrate.model_fields["scorer"].annotation)
    names = [name for each in scorers for name in (get_args(each) or (each,))]
    assert sorted(names) == sorted(SCORERS)


@pytest.mark.parametrize("name", sorted(SCORERS))
def test_every_scorer_prefers_the_right_teacher_and_scores_any_part_alike(
    name: str, said: tuple[TeacherOutputs, np.ndarray]
) -> None:
    sample, owner = said
    score = SCORERS[name].fit(sample)
    scores = score(sample)
    assert scores.shape == (200, 2)
    assert (scores.argmax(axis=1) == owner).mean() > 0.95
    np.testing.assert_allclose(score(part(sample, slice(20, 30))), scores[20:30])
    if name in config.POSTERIORS:
        np.testing.assert_allclose(scores.sum(axis=1), 1)


def test_standardised_scores_come_to_one_scale(said: tuple[TeacherOutputs, np.ndarray]) -> None:
    scores = SCORERS["energy"].fit(said[0])(said[0])
    np.testing.assert_allclose(scores.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(scores.std(axis=0), 1)


@pytest.mark.parametrize("rule", sorted(RULES))
def test_every_rule_is_a_valid_integration(rule: str) -> None:
    changes, temperature = RULES[rule]
    settings = config.Integrate.model_validate(changes)
    assert temperature > 0
    assert settings.model_dump(include=set(changes)) == changes
