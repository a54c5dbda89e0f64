import re
import weakref
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from muki_pipeline.labels.space import LabelSpace, unite
from muki_pipeline.routing.confidence import softmax
from muki_pipeline.routing.gate import gate as module
from muki_pipeline.routing.gate.agreement import SLIGHT, estimated_accuracies, has_drifted, kappa
from muki_pipeline.routing.gate.calibration import Calibration, fit_factor, sharpened, sharpness
from muki_pipeline.routing.gate.gate import Gate, GateInputs, Reader
from muki_pipeline.routing.gate.gaussian import GaussianModel
from muki_pipeline.routing.gate.meaning import Meaning
from muki_pipeline.routing.gate.views import ContentView
from muki_pipeline.routing.gate.words import FOLDS, WordIndex, WordModel

TOPICS = [["ball", "goal", "team"], ["star", "orbit", "moon"], ["vote", "law", "court"], ["cell", "gene", "drug"]]
COMMON = ["the", "a", "of", "and", "it", "was"]
SIZE = 8


class World:
    """Texts of four labels, two for each of two teachers, with words, embeddings and names of their own.

    Args:
        rows: Number of texts.
        signal: By how many standard deviations the right teacher's scores are higher.
        names: Whether the embeddings of the labels' names tell anything.
        shares: Share of each label.
    """

    def __init__(
        self, rows: int = 600, signal: float = 1.0, *, names: bool = True, shares: tuple[float, ...] = ()
    ) -> None:
        drawn = np.random.default_rng(0)
        self.label = drawn.choice(4, rows, p=shares or None)
        self.owner = self.label // 2
        self.space: LabelSpace = unite({"one": ["a", "b"], "two": ["c", "d"]}, {})
        texts = [" ".join([*drawn.choice(COMMON, 5), *drawn.choice(TOPICS[label], 2)]) for label in self.label]
        centres = drawn.normal(size=(4, SIZE))
        embeddings = centres[self.label] + 0.9 * drawn.normal(size=(rows, SIZE))
        embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
        scores = drawn.normal(size=(rows, 2, 2))
        scores[np.arange(rows), self.owner] += signal
        # A teacher knows which of its two labels it is; on the other's texts it guesses.
        logits = drawn.normal(size=(rows, 4))
        logits[np.arange(rows), self.label] += 4.0
        distributions = [softmax(logits[:, columns]) for columns in self.space.columns]
        self.names = (centres if names else drawn.normal(size=(4, SIZE))).T
        self.names /= np.linalg.norm(self.names, axis=0)
        self.texts = GateInputs(scores, distributions, texts, embeddings, self.space)

    def part(self, rows: slice) -> GateInputs:
        whole = self.texts
        distributions = [distribution[rows] for distribution in whole.distributions]
        return GateInputs(whole.scores[rows], distributions, whole.texts[rows], whole.embeddings[rows], self.space)

    def share_right(self, posterior: np.ndarray) -> float:
        return float((posterior.argmax(axis=1) == self.owner).mean())


def test_weak_views_together_find_the_right_teacher() -> None:
    world = World(signal=0.5)
    router = Gate.fit(world.texts, world.names)
    posterior = router(world.texts)
    alone = world.share_right(world.texts.scores.sum(axis=-1))
    assert alone < 0.75
    assert world.share_right(posterior) > 0.95
    assert router.estimate.agreement > SLIGHT
    assert not router.estimate.has_drifted
    np.testing.assert_allclose(posterior.sum(axis=1), 1)


def test_teachers_of_unequal_shares_are_found_too() -> None:
    world = World(1200, shares=(0.5, 0.4, 0.06, 0.04))
    posterior = Gate.fit(world.texts, world.names)(world.texts)
    assert world.share_right(posterior) > 0.95


def test_names_that_tell_nothing_do_little_harm() -> None:
    world = World(signal=1.5, names=False)
    router = Gate.fit(world.texts, world.names)
    assert router.estimate.agreement <= SLIGHT
    assert not router.estimate.has_drifted
    assert world.share_right(router(world.texts)) > world.share_right(world.texts.scores.sum(axis=-1))


@pytest.mark.parametrize(
    ("agreements", "drifted"),
    [([0.6], False), ([0.6, 0.66, 0.45], False), ([0.6, 0.66, 0.43], True), ([0.35, 0.05], False)],
)
def test_content_that_comes_to_contradict_names_that_mean_something_is_noticed(
    agreements: list[float], drifted: bool
) -> None:
    assert has_drifted(agreements) == drifted


def test_where_views_drift_the_best_round_is_kept_and_no_round_longer_than_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[weakref.ref[WordModel]] = []
    alive: list[int] = []
    fit = WordModel.fit

    def noted(*given: Any) -> WordModel:
        model = fit(*given)
        made.append(weakref.ref(model))
        alive.append(sum(each() is not None for each in made))
        return model

    agreements = iter([0.5, 0.7, 0.9, 0.8, 0.9, 0.7, 0.5])
    monkeypatch.setattr(WordModel, "fit", noted)
    monkeypatch.setattr(module, "_SETTLED", -1.0)
    monkeypatch.setattr(module, "kappa", lambda *views: next(agreements))
    world = World(200)
    gate = Gate.fit(world.texts, world.names)
    assert (gate.estimate.has_drifted, gate.estimate.rounds) == (True, 7)
    assert gate.views.content.words is made[2]()
    assert max(alive) <= 3  # the best round's, the last one's and the one that is made


def test_where_nothing_tells_the_views_say_so() -> None:
    world = World(signal=0.0, names=False)
    drawn = np.random.default_rng(3)
    noise = GateInputs(
        world.texts.scores,
        [softmax(drawn.normal(size=(600, 2))) for _ in range(2)],
        [f"unique{number}" for number in range(600)],
        drawn.normal(size=(600, SIZE)),
        world.space,
    )
    router = Gate.fit(noise, world.names)
    assert router.estimate.agreement <= SLIGHT
    np.testing.assert_allclose(router(noise).sum(axis=1), 1)


@pytest.mark.parametrize("texts", [[""] * 60, [f"unique{number}" for number in range(60)]])
def test_texts_without_common_words_are_routed(texts: list[str]) -> None:
    world = World(60, signal=3.0)
    bare = GateInputs(world.texts.scores, world.texts.distributions, texts, world.texts.embeddings, world.space)
    assert world.share_right(Gate.fit(bare, world.names)(bare)) > 0.8


def test_a_modest_teacher_is_heard_as_well_as_a_sure_one() -> None:
    world = World(signal=0.5)
    modest, sure = (softmax(factor * np.log(world.texts.distributions[0])) for factor in (0.1, 1.0))
    found = {}
    for name, distribution in {"modest": modest, "sure": sure}.items():
        texts = replace(world.texts, distributions=[distribution, world.texts.distributions[1]])
        gate = Gate.fit(texts, world.names)
        found[name] = world.share_right(gate(texts))
        assert (gate.reader.sharpening > 1).tolist() == [name == "modest", False]
    assert modest.max(axis=1).mean() < 0.7
    assert sharpened(modest, gate_of(world, modest).reader.sharpening[0]).max(axis=1).mean() == pytest.approx(0.8)
    assert found["modest"] == pytest.approx(found["sure"], abs=0.01)


def gate_of(world: World, distribution: np.ndarray, is_silent: np.ndarray | None = None) -> Gate:
    distributions = [distribution, world.texts.distributions[1]]
    return Gate.fit(replace(world.texts, distributions=distributions, is_silent=is_silent), world.names)


def test_unanswered_texts_do_not_make_a_teacher_modest() -> None:
    world = World()
    is_silent = np.zeros((600, 2), dtype=bool)
    is_silent[::2, 0] = True
    answers = np.where(is_silent[:, :1], 0.5, world.texts.distributions[0])
    assert gate_of(world, answers, is_silent).reader.sharpening.tolist() == [1.0, 1.0]
    assert gate_of(world, answers).reader.sharpening[0] > 1
    assert gate_of(world, np.full((600, 2), 0.5), np.tile([True, False], (600, 1))).reader.sharpening[0] == 1.0


def test_nearly_equal_answers_do_not_become_certainties() -> None:
    world = World()
    tied = np.where(np.arange(600)[:, None] % 2, [[0.5, 0.5]], [[0.65, 0.35]])
    assert gate_of(world, tied).reader.sharpening[0] == 10.0


def test_answers_tell_apart_what_words_and_embedding_do_not() -> None:
    world, drawn = World(1200), np.random.default_rng(4)
    # Each teacher takes every foreign label for one of its own, a little less surely: to itself that tells nothing.
    logits = 3.0 * (np.eye(4) + 0.5 * np.eye(4)[[2, 3, 0, 1]])[world.label] + drawn.normal(scale=0.5, size=(1200, 4))
    blind = replace(
        world.texts,
        texts=[f"the same words {number}" for number in range(1200)],
        embeddings=drawn.normal(size=(1200, SIZE)),
        distributions=[softmax(logits[:, columns]) for columns in world.space.columns],
    )
    prepared = Reader.fit(blind, world.names)(blind)
    without = replace(prepared, meaning=prepared.meaning[:, :SIZE])
    targets = np.eye(4)[world.label]
    found = [world.share_right(ContentView.fit(texts, targets, targets)(texts)) for texts in (prepared, without)]
    assert found[0] > 0.9
    assert found[1] < 0.7


def test_embedding_and_answers_have_the_same_variance() -> None:
    drawn = np.random.default_rng(0)
    embeddings = 0.01 * drawn.normal(size=(500, 7)) + 3.0
    distributions = [softmax(4 * drawn.normal(size=(500, labels))) for labels in (2, 3)]
    vectors = Meaning.fit(embeddings, distributions)(embeddings, distributions)
    assert vectors.shape == (500, 12)
    np.testing.assert_allclose([half.var(axis=0).sum() for half in (vectors[:, :7], vectors[:, 7:])], 1.0, rtol=1e-4)
    np.testing.assert_allclose(vectors.mean(axis=0), 0.0, atol=1e-5)


def test_one_teacher_is_always_right() -> None:
    world = World(50)
    space = unite({"one": ["a", "b", "c", "d"]}, {})
    distribution = np.concatenate(world.texts.distributions, axis=1) / 2
    texts = GateInputs(world.texts.scores[:, :1], [distribution], world.texts.texts, world.texts.embeddings, space)
    np.testing.assert_allclose(Gate.fit(texts, world.names)(texts), 1)


def test_a_text_is_judged_the_same_alone_and_among_others() -> None:
    world = World(300)
    router = Gate.fit(world.texts, world.names)
    together = router(world.texts)
    for row in (0, 7, 299):
        np.testing.assert_allclose(router(world.part(slice(row, row + 1)))[0], together[row], atol=1e-9)


def test_the_posterior_is_never_surer_than_is_believed() -> None:
    world = World(signal=3.0)
    posterior = Gate.fit(world.texts, world.names)(world.texts)
    assert posterior.max(axis=1).mean() <= 0.901


def test_a_text_never_votes_for_itself() -> None:
    texts = ["odd odd odd", "odd even", "even even", "even odd even", "odd"]
    index = WordIndex.fit(texts)
    bags, folds = index.bags(texts), np.arange(5) % FOLDS
    targets = np.full((5, 2), 0.5)
    changed = targets.copy()
    changed[0] = [1.0, 0.0]
    embeddings = np.random.default_rng(0).normal(size=(5, 3))
    for view in (
        lambda t: WordModel.fit(bags, folds, t)(bags, folds),
        lambda t: GaussianModel.fit(embeddings, folds, t)(embeddings, folds),
    ):
        before, after = view(targets), view(changed)
        np.testing.assert_allclose(after[0], before[0], atol=1e-5)
        assert not np.allclose(after[1], before[1], atol=1e-4)


def test_bags_hold_the_tf_idf_of_words_and_pairs_that_two_texts_have() -> None:
    texts = ["Red car, red wheel", "a red car", "", "blue ... wheel red car red car"]
    index, asked = WordIndex.fit(texts), [*texts, "no such words", "wheel a red"]
    bags = index.bags(asked)

    def counted(text: str) -> Counter[str]:
        words = re.findall(r"\w+", text.lower())
        return Counter([*words, *(" ".join(pair) for pair in pairwise(words))])

    occurring = Counter(word for text in texts for word in counted(text))
    expected = np.zeros((len(asked), len(index.words)))
    columns = {word: column for column, word in enumerate(index.words)}
    assert columns.keys() == {word for word, times in occurring.items() if times >= 2}
    for row, text in enumerate(asked):
        for word, times in counted(text).items():
            if word in columns:
                idf = np.log((1 + len(texts)) / (1 + occurring[word])) + 1
                expected[row, columns[word]] = (1 + np.log(times)) * idf
    lengths = np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(bags.toarray(), expected / np.where(lengths, lengths, 1), atol=1e-6)
    assert index.bags([]).shape == (0, len(index.words))


def test_scripts_without_spaces_are_read_by_characters() -> None:
    texts = ["我想订一张机票", "我想订一间酒店", "取消我的机票", "取消我的酒店"]
    words = set(WordIndex.fit(texts).words)
    assert {"机票", "酒店", "取消", "我想订"} <= words
    assert set(WordIndex.fit(["two words", "two words"]).words) == {"two", "words", "two words"}


def test_a_gaussian_per_label_finds_the_label() -> None:
    drawn = np.random.default_rng(0)
    label = np.arange(300) % 3
    embeddings = drawn.normal(size=(3, 5))[label] * 3 + drawn.normal(size=(300, 5))
    likelihoods = GaussianModel.fit(embeddings, np.arange(300) % FOLDS, np.eye(3)[label])(
        embeddings, np.arange(300) % FOLDS
    )
    assert (likelihoods.argmax(axis=1) == label).mean() > 0.9


def test_calibration_recovers_what_made_the_posterior() -> None:
    drawn = np.random.default_rng(0)
    view = drawn.normal(size=(4000, 3, 2))
    slopes, offsets = np.array([[2.0, 0.5], [1.0, 1.0], [0.2, 1.5]]), np.array([0.5, -0.5, 0.0])
    calibration = Calibration.fit(view, softmax((view * slopes).sum(axis=-1) + offsets))
    np.testing.assert_allclose(calibration.slopes, slopes, atol=0.05)
    np.testing.assert_allclose(calibration.offsets - calibration.offsets.mean(), offsets, atol=0.05)


def test_factors_fit_what_they_are_asked_to() -> None:
    logits = np.random.default_rng(0).normal(size=(500, 4)) * 3
    assert fit_factor(logits, softmax(0.4 * logits)) == pytest.approx(0.4, rel=0.01)
    assert softmax(sharpness(logits, 0.7) * logits).max(axis=1).mean() == pytest.approx(0.7, abs=1e-6)


@pytest.mark.parametrize("teachers", [2, 4])
def test_independent_views_tell_their_own_accuracy(teachers: int) -> None:
    drawn = np.random.default_rng(1)
    truth = drawn.integers(0, teachers, 50_000)
    views, accuracies = {}, {"scores": 0.9, "content": 0.8, "names": 0.7}
    for name, share in accuracies.items():
        wrong = (truth + drawn.integers(1, teachers, len(truth))) % teachers
        views[name] = np.eye(teachers)[np.where(drawn.random(len(truth)) < share, truth, wrong)]
    assert estimated_accuracies(views) == pytest.approx(accuracies, abs=0.02)
    assert kappa(views["scores"], views["scores"]) == pytest.approx(1.0)
