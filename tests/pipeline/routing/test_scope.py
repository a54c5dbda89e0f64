"""Which texts some teacher knows: a world in which one of two teachers is missing, so that its texts are foreign."""

from dataclasses import replace

import numpy as np
import pytest

from muki_pipeline.evaluation.metrics import auroc
from muki_pipeline.labels.space import unite
from muki_pipeline.routing.gate.gate import Gate, GateInputs
from tests.pipeline.routing.test_gate import World


class Alone(World):
    """The world with its first teacher alone."""

    def __init__(self, rows: int = 600) -> None:
        super().__init__(rows)
        whole = self.texts
        self.known = self.owner == 0
        self.alone = GateInputs(
            whole.scores[:, :1], whole.distributions[:1], whole.texts, whole.embeddings, unite({"one": ["a", "b"]}, {})
        )
        self.gate = Gate.fit(self.alone, self.names[:, :2])

    def split(self, familiarity: np.ndarray) -> float:
        found = auroc(familiarity, self.known)
        assert found is not None
        return found


@pytest.fixture(scope="module")
def alone() -> Alone:
    return Alone()


def test_foreign_texts_are_less_familiar_than_any_witness_alone_says(alone: Alone) -> None:
    texts = alone.gate.reader(alone.alone)
    found = alone.split(alone.gate.familiarity(alone.alone))
    assert found > 0.99
    assert found > alone.split(texts.scores[:, 0, 0]) + 0.05
    assert found > alone.split(texts.names[:, 0, 0])


def test_a_text_is_as_familiar_among_others_as_alone(alone: Alone) -> None:
    whole = alone.alone
    rows = slice(10, 15)
    few = replace(
        whole,
        scores=whole.scores[rows],
        distributions=[each[rows] for each in whole.distributions],
        texts=whole.texts[rows],
        embeddings=whole.embeddings[rows],
    )
    np.testing.assert_allclose(alone.gate.familiarity(few), alone.gate.familiarity(whole)[rows], rtol=1e-4, atol=1e-4)


def test_content_that_is_alike_everywhere_does_not_decide() -> None:
    world = Alone()
    whole = replace(world.alone, embeddings=np.broadcast_to(world.alone.embeddings[:1], world.alone.embeddings.shape))
    gate = Gate.fit(whole, world.names[:, :2])
    assert np.isfinite(gate.familiarity(whole)).all()
