import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from muki_pipeline.labelling.answer_file.averages import average, logits_of
from muki_pipeline.routing.confidence import entropy, softmax


@given(st.integers(0, 2**32 - 1), st.integers(0, 30), st.integers(1, 8), st.integers(2, 5))
def test_averages_are_those_of_each_text(seed: int, answers: int, texts: int, labels: int) -> None:
    drawn = np.random.default_rng(seed)
    of_text = drawn.integers(0, texts, answers)
    probs = drawn.dirichlet(np.ones(labels), answers)
    found = average(of_text, probs, texts)
    for text in range(texts):
        own = probs[of_text == text]
        assert found.answers[text] == len(own)
        expected = own.mean(axis=0) if len(own) else np.full(labels, 1 / labels)
        np.testing.assert_allclose(found.probs[text], expected, atol=1e-12)
        np.testing.assert_allclose(found.entropy[text], entropy(expected), atol=1e-12)
        mean = entropy(own).mean() if len(own) else np.log(labels)
        np.testing.assert_allclose(found.expected_entropy[text], mean, atol=1e-12)


def test_samples_of_one_label_have_all_their_entropy_as_mutual_information() -> None:
    found = average(np.array([0, 0, 0, 0]), np.eye(2)[[0, 0, 0, 1]], 1)
    assert found.probs.tolist() == [[0.75, 0.25]]
    assert found.expected_entropy[0] == 0
    assert found.entropy[0] > 0


def test_the_softmax_of_logits_gives_the_probabilities_back() -> None:
    probs = np.array([[0.7, 0.3, 0.0], [1.0, 0.0, 0.0], [1 / 3, 1 / 3, 1 / 3]])
    np.testing.assert_allclose(softmax(logits_of(probs)), probs, atol=3e-6)
