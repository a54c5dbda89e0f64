"""A person's answers in the golden table: targets, weights and what they tell."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml
from pydantic import ValidationError

from muki_pipeline import config
from muki_pipeline.config import Integrate
from muki_pipeline.errors import MukiError
from muki_pipeline.evaluation.comparison import compare
from muki_pipeline.evaluation.review import read_review, sample_review
from muki_pipeline.labels.space import unite
from muki_pipeline.labels.tables import open_labelled_corpus
from muki_pipeline.reporting.report.page import write_report
from muki_pipeline.reporting.review_page import review_page
from muki_pipeline.routing import inputs
from muki_pipeline.routing.answers import Anchors, reference
from muki_pipeline.routing.audit import Audit, anchored
from muki_pipeline.supervision.integrate import integrate
from muki_pipeline.supervision.weights import Weigher, margins_of
from muki_stages import integrate as stage
from muki_stages import review
from tests import tiny


def with_answers(
    path: Path, answers: dict[str, str], texts: int = 40, changes: Mapping[str, Any] = MappingProxyType({})
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """The golden table by these answers and other changes of the `integrate` block, and its manifest."""
    params, layout = config.load(path)
    integrate(params, layout, layout.golden)
    sample = sample_review(params, layout, texts).table
    file = path.parent / "review.csv"
    sample.with_columns(answer=pl.col("id").replace_strict(answers, default="")).write_csv(file)
    settings = params.integrate.model_copy(update={**changes, "answers": reference(file, layout.root)})
    integrate(params.model_copy(update={"integrate": settings}), layout, layout.golden)
    golden = pl.read_parquet(layout.golden / "*.parquet").join(sample.select("id", "drawn"), on="id", how="left")
    return golden, json.loads((layout.golden / "manifest.json").read_text())


def test_answered_texts_have_their_teacher_and_tell_the_accuracy(tmp_path: Path) -> None:
    path = tiny.save_labelled(tmp_path)
    gold = dict(pl.read_parquet(config.load(path)[1].corpus_gold).iter_rows())
    golden, manifest = with_answers(path, gold)
    asked = golden.filter(pl.col("drawn").is_not_null())
    assert len(asked) == 40
    for row in asked.iter_rows(named=True):
        assert gold[row["id"]] in tiny.TEACHER_LABELS[row["teacher"]]
        assert max(row["scores"]) == 1
        assert row["margin"] == pytest.approx(1, abs=1e-5)
    texts, share, low, high = manifest["routing"]["estimate"]["audit"]
    assert texts == 40
    assert 0 < low < share < high < 1
    others = golden.filter(pl.col("drawn").is_null())
    assert others["scores"].arr.max().min() < 1


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"strategy": "soft"},
        {"unknown_share": 0.5},
        {"strategy": "soft", "scorer": "mc_entropy"},
    ],  # as in `compare`
)
def test_an_answer_is_the_target_of_its_text(tmp_path: Path, changes: dict[str, Any]) -> None:
    path = tiny.save_labelled(tmp_path)
    gold = dict(pl.read_parquet(config.load(path)[1].corpus_gold).iter_rows())
    labels = [label for known in tiny.TEACHER_LABELS.values() for label in known]
    wrong = {text: labels[(labels.index(label) + 1) % len(labels)] for text, label in gold.items()}
    golden, _ = with_answers(path, wrong, changes=changes)  # whatever the teachers say
    asked = golden.filter(pl.col("drawn").is_not_null())
    expected = np.eye(len(labels))[[labels.index(wrong[text_id]) for text_id in asked["id"]]]
    np.testing.assert_array_equal(asked["target"].to_numpy(), expected)
    assert asked["weight"].n_unique() == 1, "a person is as sure of one text as of another"
    assert asked["weight"].min() >= golden["weight"].max()
    others = golden.filter(pl.col("drawn").is_null())
    assert others["target"].arr.max().max() < 1
    assert (others["weight"] == 0).any() == ("unknown_share" in changes)


def test_texts_that_no_teacher_knows_teach_nothing_and_tell_their_share(tmp_path: Path) -> None:
    path = tiny.save_labelled(tmp_path)
    gold = dict(pl.read_parquet(config.load(path)[1].corpus_gold).iter_rows())
    foreign = set(list(gold)[::3])
    golden, _ = with_answers(path, {text: "none" if text in foreign else label for text, label in gold.items()}, 30)
    asked = golden.filter(pl.col("drawn").is_not_null())
    is_foreign = asked["id"].is_in(list(foreign))
    assert 0 < is_foreign.sum() < 30
    assert (asked.filter(is_foreign)["weight"] == 0).all()
    assert (asked.filter(~is_foreign)["weight"] > 0).all()
    result = read_review(*config.load(path), path.parent / "review.csv")
    assert result.unknown_share is not None
    assert result.unknown == is_foreign.sum()
    assert result.unknown_share.low < 1 / 3 < result.unknown_share.high


def test_without_answers_nothing_is_audited_and_numbers_are_as_before(tmp_path: Path) -> None:
    path = tiny.save_labelled(tmp_path)
    params, layout = config.load(path)
    integrate(params, layout, layout.golden)
    before = pl.read_parquet(layout.golden / "*.parquet")
    golden, manifest = with_answers(path, {})
    assert golden.drop("drawn").equals(before)
    assert manifest["routing"]["estimate"]["audit"] == []


def test_answers_that_changed_are_refused(tmp_path: Path) -> None:
    path = tiny.save_labelled(tmp_path)
    gold = dict(pl.read_parquet(config.load(path)[1].corpus_gold).iter_rows())
    with_answers(path, gold)
    params, layout = config.load(path)
    settings = params.integrate.model_copy(update={"answers": "review.csv@000000000000"})
    with pytest.raises(MukiError, match="has changed since it was named"):
        integrate(params.model_copy(update={"integrate": settings}), layout, layout.golden)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["alien,random,1.5,oak"], "1 of the answered texts are not in the corpus"),
        (["alien,random,2,oak", "alien,random,2,elm"], "these ids occur more than once: 'alien'"),
        (["alien,random,,oak"], "stands_for is no number from 1 on for 'alien'"),
        (["alien,random,0.5,oak"], "stands_for is no number from 1 on for 'alien'"),
        (["alien,random,all,oak"], "stands_for is no number from 1 on for 'alien'"),
        (None, "no such file"),
    ],
)
def test_answers_that_do_not_fit_are_refused(tmp_path: Path, lines: list[str] | None, message: str) -> None:
    path = tiny.save_labelled(tmp_path)
    params, layout = config.load(path)
    file = path.parent / "review.csv"
    file.write_text("\n".join(["id,drawn,stands_for,answer", *(lines or [])]) + "\n")
    settings = params.integrate.model_copy(update={"answers": reference(file, layout.root)})
    if lines is None:
        file.unlink()
    with pytest.raises(MukiError, match=message):
        integrate(params.model_copy(update={"integrate": settings}), layout, layout.golden)


def test_answers_about_starved_labels_alone_tell_no_accuracy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tiny.save_labelled(tmp_path)
    gold = dict(pl.read_parquet(config.load(path)[1].corpus_gold).iter_rows())
    with_answers(path, gold)
    file = path.parent / "review.csv"
    pl.read_csv(file).with_columns(drawn=pl.lit("starved"), stands_for=None).write_csv(file)
    content = yaml.safe_load(path.read_text())
    content["integrate"] = {"answers": reference(file, path.parent)}
    path.write_text(yaml.safe_dump(content))
    stage.main(path)
    assert "accuracy of the routing by" not in capsys.readouterr().err


def test_the_command_says_how_to_use_answers_and_what_they_tell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tiny.save_labelled(tmp_path)
    gold = dict(pl.read_parquet(config.load(path)[1].corpus_gold).iter_rows())
    with_answers(path, gold)
    review.main(path, 40, path.parent / "review.csv", False, False)
    said = capsys.readouterr().err
    (named,) = re.findall(r"set integrate\.answers: (\S+) in", said)
    (share,) = re.findall(r"right teacher: (\S+) of the texts whose label a teacher knows", said)
    assert 0 < float(share) < 1
    params, layout = config.load(path)
    before = read_review(params, layout, path.parent / "review.csv")
    content = yaml.safe_load(path.read_text())
    content["integrate"] = {"answers": named}
    path.write_text(yaml.safe_dump(content))
    stage.main(path)
    params, layout = config.load(path)
    # Answered texts are not taken for right because they were answered.
    after = read_review(params, layout, path.parent / "review.csv")
    assert before.right is not None
    assert after.right is not None
    assert (after.judged, after.right.share) == (40, pytest.approx(before.right.share, abs=0.25))
    assert after.right.high - after.right.low < 0.4
    write_report(params, layout)
    assert "right teacher, by a person&#39;s answers" in layout.report.read_text()
    assert re.search(r"accuracy of the routing by 40 answers: 0\.\d{3} \(95 % interval", capsys.readouterr().err)


@pytest.mark.parametrize("scorer", ["gate", "calibrated"])
def test_a_silent_teacher_says_nothing_and_makes_nobody_sure(tmp_path: Path, scorer: str) -> None:
    path = tiny.save_project(tmp_path)
    texts = tiny.texts(30, 1)
    rows = [f'"{text}",oak' for text in texts[:12]] + [f'"{text}",elm' for text in texts[12:24]]
    (tmp_path / "two.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    content = yaml.safe_load(path.read_text())
    content["teachers"]["two"] = {"answers": "two.csv", "most_unanswered": 0.5}
    content["integrate"] = {"scorer": scorer, "strategy": "posterior"}
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    tiny.label(path)
    params, layout = config.load(path)
    integrate(params, layout, layout.golden)
    sample = sample_review(params, layout, 30)
    is_silent = ~sample.table["text"].is_in(texts[:24])
    assert is_silent.sum() >= 6
    assert (sample.table.filter(is_silent)["teacher two"] == "").all()
    assert (sample.table.filter(is_silent)["chosen"] == "one").all()
    assert sample.answers["two"].filter(is_silent)["united"].is_null().all()
    assert sample.certainty is not None
    assert sample.certainty.max() < 1
    review_page(sample)


def test_an_audit_judges_who_is_chosen_where_a_teacher_is_silent() -> None:
    space = unite({"one": ["a"], "two": ["b"]}, {})
    anchors = Anchors(np.arange(4), np.array([0, 0, 1, 1]), np.ones(4))
    posterior = np.tile([0.2, 0.8], (4, 1))
    is_silent = np.array([[False, True], [False, False], [False, False], [False, True]])
    chosen, right = Audit(anchors, space, is_silent).choices(posterior)
    assert (chosen.tolist(), right.tolist()) == ([0, 1, 1, 0], [True, False, True, False])


def test_an_answer_counts_fully_whoever_knows_its_label() -> None:
    space = unite({"one": ["a", "b"], "two": ["b", "c"]}, {})
    anchors = Anchors(np.array([0, 1]), np.array([1, 2]), np.ones(2))  # b, which both know; c, whose teacher is silent
    is_silent = np.array([[False, False], [False, True], [False, False]])
    teachers = [SimpleNamespace(logits=np.array([[1.0, 0.0]] * 3))] * 2  # a, and b
    sample: Any = SimpleNamespace(is_silent=is_silent, anchors=anchors, teachers=teachers, label_space=space)
    scores = anchored(np.full((3, 2), [0.7, 0.3]), anchors, space)
    router: Any = SimpleNamespace(scores=lambda _: scores)
    weigher = Weigher.fit(router, sample, Integrate(normalise_weights=False))
    weights = weigher(margins_of(scores, sample, weigher.settings), sample, np.zeros(3, dtype=bool))
    assert weights.tolist() == [1.0, 1.0, pytest.approx(0.4, abs=1e-5)]


def test_texts_outside_of_the_corpus_are_refused_though_no_teacher_knows_them(tmp_path: Path) -> None:
    path = tiny.save_labelled(tmp_path)
    gold = dict(pl.read_parquet(config.load(path)[1].corpus_gold).iter_rows())
    with_answers(path, dict.fromkeys(gold, "none") | dict(list(gold.items())[:15]))
    params, layout = config.load(path)
    file = tmp_path / "review.csv"
    answers = pl.read_csv(file)
    answers.with_columns(id=pl.when(pl.col("answer") == "none").then("x" + pl.col("id")).otherwise("id")).write_csv(
        file
    )
    tiny.change(path, "integrate", answers=reference(file, layout.root))
    params, layout = config.load(path)
    with pytest.raises(MukiError, match="of the answered texts are not in the corpus"):
        integrate(params, layout, layout.golden)


def test_answers_that_the_sample_has_no_room_for_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "SAMPLE_ROWS", 10)
    path = tiny.save_labelled(tmp_path)
    gold = dict(pl.read_parquet(config.load(path)[1].corpus_gold).iter_rows())
    foreign = set(list(gold)[1::2])
    golden, _ = with_answers(path, {text: "none" if text in foreign else label for text, label in gold.items()})
    assert (golden.filter(pl.col("id").is_in(list(foreign)) & pl.col("drawn").is_not_null())["weight"] == 0).all()


def test_ids_that_are_numbers_are_no_fault_of_this_program(tmp_path: Path) -> None:
    path = tiny.save_labelled(tmp_path)
    params, layout = config.load(path)
    integrate(params, layout, layout.golden)
    rows = [{"id": 7, "drawn": 1, "stands_for": 2.0, "answer": "oak"}]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    with pytest.raises(MukiError, match="1 of its ids are not in the golden table: '7'"):
        read_review(params, layout, tmp_path / "a.json")


def test_a_label_that_no_text_has_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tiny.save_labelled(tmp_path)
    gold = dict(pl.read_parquet(config.load(path)[1].corpus_gold).iter_rows())
    with_answers(path, gold)
    root = config.load(path)[1].root
    tiny.change(path, "integrate", answers=reference(tmp_path / "review.csv", root), unknown_label="other")
    stage.main(path)
    assert "no text is taught as 'other': the student will not know it" in " ".join(capsys.readouterr().err.split())


def test_a_silent_teacher_teaches_nothing_separately_either(tmp_path: Path) -> None:
    path = tiny.save_project(tmp_path)
    texts = tiny.texts(30, 1)
    (tmp_path / "two.csv").write_text("\n".join(["text,label", *(f'"{text}",oak' for text in texts[:24])]) + "\n")
    content = yaml.safe_load(path.read_text())
    content["teachers"]["two"] = {"answers": "two.csv", "labels": ["oak", "elm"], "most_unanswered": 0.5}
    content["integrate"] = {"scorer": "mc_entropy", "strategy": "uhc"}
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    tiny.label(path)
    params, layout = config.load(path)
    integrate(params, layout, layout.golden)
    golden = pl.read_parquet(layout.golden / "*.parquet")
    said = golden["teacher_targets"].to_numpy()[:, 3:].sum(axis=1)
    is_answered = golden["text"].is_in(texts[:24]).to_numpy()
    assert 0 < is_answered.sum() < len(golden)
    np.testing.assert_allclose(said, is_answered, atol=1e-6)


def test_answers_that_would_teach_nothing_are_refused() -> None:
    with pytest.raises(ValidationError, match="so answers would teach nothing"):
        Integrate(strategy="uhc", answers="a.csv@0123456789ab")


def test_a_rule_that_would_ignore_answers_is_not_compared(tmp_path: Path) -> None:
    params, layout = config.load(tiny.save_labelled(tmp_path))
    corpus = open_labelled_corpus(params, layout)
    assert not compare._obstacle("uhc", params, corpus, {})
    settings = params.integrate.model_copy(update={"answers": "a.csv@0123456789ab"})
    params = params.model_copy(update={"integrate": settings})
    assert compare._obstacle("uhc", params, corpus, {}) == "it would not learn from integrate.answers, as the others do"
    assert not compare._obstacle("gate", params, corpus, {})
