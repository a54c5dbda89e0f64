from dataclasses import dataclass
from typing import ClassVar, get_args

import numpy as np
import pytest

from muki_pipeline import config
from muki_pipeline.evaluation.comparison.rules import RULES
from muki_pipeline.labels.space import unite
from muki_pipeline.routing.confidence import entropy, softmax
from muki_pipeline.routing.scorers import SCORERS, TeacherOutputs


@dataclass
class Stored:
    logits: np.ndarray
    probs: np.ndarray
    entropy: np.ndarray
    expected_entropy: np.ndarray
    has_logits: ClassVar[bool] = True
    has_samples: ClassVar[bool] = True

    @property
    def is_silent(self) -> np.ndarray:
        return np.zeros(len(self.logits), dtype=bool)


def teacher(labels: int, sharpness: np.ndarray, seed: int) -> Stored:
    """A teacher whose logits are the larger and whose passes agree the better, the sharper."""
    drawn = np.random.default_rng(seed)
    logits = drawn.normal(size=(len(sharpness), labels)) * 0.1
    logits[:, 0] += 6 * sharpness
    passes = softmax(logits[None] + drawn.normal(size=(8, *logits.shape)) * (1.5 - sharpness)[None, :, None])
    probs = passes.mean(axis=0)
    return Stored(logits, probs.astype(np.float32), entropy(probs), entropy(passes).mean(axis=0))


SPACE = unite({"one": ["red", "ruby", "rose"], "two": ["blue", "navy"]}, {})


@pytest.fixture(scope="module")
def sample() -> tuple[TeacherOutputs, np.ndarray]:
    owner = np.arange(200) % 2
    teachers = [teacher(3, (owner == 0) * 0.8 + 0.1, 1), teacher(2, (owner == 1) * 0.8 + 0.1, 2)]
    texts = [f"the {'blue' if own else 'red'} one" for own in owner]
    centres = np.random.default_rng(3).normal(size=(2, 4))
    embeddings = centres[owner] + 0.1 * np.random.default_rng(4).normal(size=(200, 4))
    names = centres[[0, 0, 0, 1, 1]].T
    return TeacherOutputs(texts, teachers, SPACE, embeddings, names), owner


STORED = ("logits", "probs", "entropy", "expected_entropy")


def part(outputs: TeacherOutputs, rows: slice) -> TeacherOutputs:
    teachers = [Stored(*(getattr(each, name)[rows] for name in STORED)) for each in outputs.teachers]
    assert outputs.texts is not None
    assert outputs.embeddings is not None
    return TeacherOutputs(outputs.texts[rows], teachers, SPACE, outputs.embeddings[rows], outputs.names)


def test_the_settings_name_every_scorer() -> None:
    scorers = get_args(config.Integrate.model_fields["scorer"].annotation)
    names = [name for each in scorers for name in (get_args(each) or (each,))]
    assert sorted(names) == sorted(SCORERS)


@pytest.mark.parametrize("name", sorted(SCORERS))
def test_every_scorer_prefers_the_right_teacher_and_scores_any_part_alike(
    name: str, sample: tuple[TeacherOutputs, np.ndarray]
) -> None:
    outputs, owner = sample
    score = SCORERS[name].kind.fit(name, outputs)
    scores = score(outputs)
    assert scores.shape == (200, 2)
    assert (scores.argmax(axis=1) == owner).mean() > 0.95
    np.testing.assert_allclose(score(part(outputs, slice(20, 30))), scores[20:30], atol=1e-9)
    if name in config.POSTERIORS:
        np.testing.assert_allclose(scores.sum(axis=1), 1)


def test_standardised_scores_come_to_one_scale(sample: tuple[TeacherOutputs, np.ndarray]) -> None:
    scores = SCORERS["energy"].kind.fit("energy", sample[0])(sample[0])
    np.testing.assert_allclose(scores.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(scores.std(axis=0), 1)


@pytest.mark.parametrize("rule", sorted(RULES))
def test_every_rule_is_a_valid_integration(rule: str) -> None:
    changes, temperature = RULES[rule]
    settings = config.Integrate.model_validate(changes)
    assert temperature > 0
    assert settings.model_dump(include=set(changes)) == changes
