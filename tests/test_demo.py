"""The demo's own settings: that they load, and that its packages carry what they name."""

from pathlib import Path

import pytest

from muki_pipeline import config
from muki_pipeline.corpus.readers import read_source
from muki_pipeline.training.base import load_base

ROOT = Path(__file__).parents[1]
PARAMS, LAYOUT = config.load(ROOT / "params.yaml")


def test_teachers_know_the_corpus_topics_and_each_its_own() -> None:
    assert PARAMS.train_teacher is not None
    known = [label for teacher in PARAMS.train_teacher.teachers.values() for label in teacher.labels]
    assert sorted(known) == sorted(PARAMS.prepare.labels or [])
    assert set(PARAMS.teachers) == set(PARAMS.train_teacher.teachers)


@pytest.mark.parametrize("part", ["corpus", "test"])
def test_the_texts_are_there(part: str) -> None:
    frame = read_source(getattr(PARAMS.prepare, part), LAYOUT.root)
    assert set(PARAMS.prepare.labels or []) <= set(frame["label"])


def test_the_pretrained_model_is_there() -> None:
    model, tokenizer = load_base(PARAMS.student, ["a", "b"], LAYOUT.root)
    assert model.config.num_hidden_layers == PARAMS.student.layers
    assert model.config.id2label == {0: "a", 1: "b"}
    assert len(tokenizer("two words")["input_ids"]) == 4
