"""Which texts are taken for texts that no teacher knows."""

from types import SimpleNamespace
from typing import Any

import numpy as np

from muki_pipeline.config import Integrate
from muki_pipeline.labels.space import unite
from muki_pipeline.supervision.weights import Weigher


def test_the_share_is_of_the_texts_that_somebody_answers() -> None:
    is_silent = np.arange(20) < 8
    teachers = [SimpleNamespace(logits=np.zeros((20, 1)))] * 2
    silent = np.stack([is_silent, is_silent], axis=1)
    sample: Any = SimpleNamespace(
        is_silent=silent, anchors=None, teachers=teachers, label_space=unite({"a": ["x"], "b": ["y"]}, {})
    )
    router: Any = SimpleNamespace(
        familiarity=lambda _: np.linspace(0.0, 1.0, 20), scores=lambda _: np.full((20, 2), [0.7, 0.3])
    )
    settings = Integrate(scorer="mc_entropy", strategy="soft", unknown_share=0.25)
    weigher = Weigher.fit(router, sample, settings)
    assert np.flatnonzero(weigher.is_foreign(sample)).tolist() == [8, 9, 10], "a quarter of twelve"
