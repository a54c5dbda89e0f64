import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

from muki_pipeline import config
from muki_pipeline.errors import MukiError
from muki_pipeline.evaluation.review import read_review, sample_review
from muki_pipeline.labels.space import unite
from muki_pipeline.labels.tables import open_labelled_corpus
from muki_pipeline.reporting.report.page import write_report
from muki_pipeline.reporting.review_page import review_page
from muki_pipeline.routing.accuracy import share_of_random
from muki_pipeline.routing.answers import Anchors, read_answers, reference, wilson_interval
from muki_pipeline.routing.audit import Audit
from muki_pipeline.supervision import summary
from muki_pipeline.supervision.integrate import integrate
from muki_pipeline.supervision.summary import Starved
from muki_stages import integrate as stage
from muki_stages import review
from tests import tiny


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tiny.save_project(tmp_path_factory.mktemp("review"))
    tiny.finish(path)
    return path


def answer(path: Path, target: Path, answers: dict[str, str], texts: int = 12) -> Path:
    params, layout = config.load(path)
    sample = sample_review(params, layout, texts).table
    sample.with_columns(answer=pl.col("id").replace_strict(answers, default="")).write_csv(target)
    return target


def test_texts_are_drawn_at_random_and_unsure_ones_more_often(tmp_path: Path) -> None:
    path = gate_project(tmp_path)
    params, layout = config.load(path)
    integrate(params, layout, layout.golden)
    sample = sample_review(params, layout, 12).table
    assert sample.columns == ["id", "text", "teacher one", "teacher two", "chosen", "drawn", "stands_for", "answer"]
    assert set(sample["drawn"]) == {"random"}
    assert sample["id"].n_unique() == 12
    golden = pl.read_parquet(layout.golden / "*.parquet")
    stands_for = sample.join(golden, on="id").sort(pl.col("scores").arr.max())["stands_for"].to_list()
    assert stands_for == sorted(stands_for)
    assert stands_for[0] < 60 / 12 < stands_for[-1]
    row = sample.row(0, named=True)
    assert row["teacher one"].split(" ")[0] in tiny.TEACHER_LABELS["one"]
    assert len(sample_review(params, layout, 1000).table) == 60


def test_where_scores_are_no_posterior_all_texts_have_the_same_chance(finished: Path) -> None:
    params, layout = config.load(finished)
    assert params.integrate.scorer == "mc_entropy"
    assert set(sample_review(params, layout, 12).table["stands_for"]) == {2.5}
    assert len(sample_review(params, layout, 1000).table) == 30


def test_labels_that_hardly_any_text_is_taught_as_are_named_and_asked_about_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tiny.save_project(tmp_path, rows=60)
    aliases = {"one": {"plum": "prune"}}
    tiny.change(path, "integrate", scorer="gate", strategy="posterior", aliases=aliases)
    tiny.label(path)
    starved = [Starved("prune", 1041, 2, "oak", 39), Starved("elm", 10, 0, "oak", 9)]
    monkeypatch.setattr(summary, "starved_labels", lambda *given: starved)
    stage.main(path)
    said = " ".join(capsys.readouterr().err.split())
    assert "hardly any text is taught as 'prune', 'elm'. A teacher gives 'prune' to 1,041 texts" in said
    assert "2 are taught as it, 39 as 'oak'" in said
    params, layout = config.load(path)
    sample = sample_review(params, layout, 24).table
    assert sample["drawn"].to_list() == ["starved"] * 6 + ["random"] * 18
    assert sample["stands_for"].is_null().to_list() == [True] * 6 + [False] * 18
    assert sample["id"].n_unique() == 24
    first = sample[:6]
    plums, elms = (first[f"teacher {name}"].str.starts_with(label) for name, label in (("one", "plum"), ("two", "elm")))
    assert (plums | elms).all()
    assert plums[0]
    assert elms[1]


def test_gold_answers_give_the_share_of_right_teachers(finished: Path, tmp_path: Path) -> None:
    params, layout = config.load(finished)
    gold = dict(pl.read_parquet(layout.corpus_gold).iter_rows())
    few = read_review(params, layout, answer(finished, tmp_path / "a.csv", gold))
    assert (few.rows, few.answered, few.unknown, few.judged, few.right, few.missing) == (12, 12, 0, 12, None, 8)
    result = read_review(params, layout, answer(finished, tmp_path / "b.csv", gold, texts=24))
    sample = sample_review(params, layout, 24).table
    right = sum(gold[row["id"]] in tiny.TEACHER_LABELS[row["chosen"]] for row in sample.iter_rows(named=True))
    assert result.right == share_of_random(right, 24)
    assert (result.left, result.missing) == (6, 6)


def test_answers_drawn_under_another_rule_are_refused(finished: Path, tmp_path: Path) -> None:
    params, layout = config.load(finished)
    gold = dict(pl.read_parquet(layout.corpus_gold).iter_rows())
    path = answer(finished, tmp_path / "a.csv", gold)
    table = pl.read_csv(path)
    table.with_columns(stands_for=pl.int_range(len(table)) + 2.0).write_csv(path)
    with pytest.raises(MukiError, match="drawn with unequal chances, under another rule"):
        read_review(params, layout, path)


def test_a_review_is_of_the_present_table_and_of_several_teachers(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished.parent, tmp_path / "p")
    path = tmp_path / "p" / "params.yaml"
    tiny.change(path, "label", passes=4)
    tiny.label(path)
    with pytest.raises(MukiError, match="is of another corpus, or of other labels of it"):
        sample_review(*config.load(path), 12)
    alone = tiny.save_project(tmp_path / "alone", teachers={"one": ["apple", "pear"]})
    tiny.finish(alone)
    with pytest.raises(MukiError, match="there is only one teacher"):
        sample_review(*config.load(alone), 12)


def test_texts_without_an_answer_or_without_a_teacher_are_left_out(finished: Path, tmp_path: Path) -> None:
    params, layout = config.load(finished)
    ids = sample_review(params, layout, 12).table["id"]
    result = read_review(params, layout, answer(finished, tmp_path / "a.csv", {ids[0]: "oak", ids[1]: "none"}))
    assert (result.answered, result.unknown, result.judged) == (2, 1, 1)


@pytest.mark.parametrize(
    ("answers", "message"),
    [({"first": "tree"}, "the column answer holds 'tree'"), ({}, "no random text has an answer")],
)
def test_wrong_answers_are_refused(finished: Path, tmp_path: Path, answers: dict[str, str], message: str) -> None:
    params, layout = config.load(finished)
    ids = sample_review(params, layout, 12).table["id"]
    path = answer(finished, tmp_path / "a.csv", dict(zip(ids[:1], answers.values(), strict=False)))
    with pytest.raises(MukiError, match=message):
        read_review(params, layout, path)


def test_a_foreign_file_is_refused(finished: Path, tmp_path: Path) -> None:
    params, layout = config.load(finished)
    path = tmp_path / "a.csv"
    path.write_text("id,drawn,stands_for,answer\nalien,random,2.5,oak\n")
    with pytest.raises(MukiError, match="1 of its ids are not in the golden table"):
        read_review(params, layout, path)
    path.write_text("id\nalien\n")
    with pytest.raises(MukiError, match=r"has no column \['answer', 'drawn', 'stands_for'\]"):
        read_review(params, layout, path)


def test_wilsons_interval() -> None:
    assert wilson_interval(9, 10) == pytest.approx((0.5958, 0.9821), abs=1e-4)
    assert wilson_interval(10, 10)[1] == pytest.approx(1.0)


def gate_project(root: Path) -> Path:
    """A labelled project of the default rule, on texts whose words tell their teacher."""
    path = tiny.save_project(root, rows=60, integrate={}, embed={"max_length": 24})
    tiny.label(path)
    return path


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
    path = gate_project(tmp_path)
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
        {"abstain_below": 0.99},
        {"strategy": "soft", "scorer": "mc_entropy"},
    ],  # as in `compare`
)
def test_an_answer_is_the_target_of_its_text(tmp_path: Path, changes: dict[str, Any]) -> None:
    path = gate_project(tmp_path)
    gold = dict(pl.read_parquet(config.load(path)[1].corpus_gold).iter_rows())
    labels = [label for known in tiny.TEACHER_LABELS.values() for label in known]
    wrong = {text: labels[(labels.index(label) + 1) % len(labels)] for text, label in gold.items()}
    golden, _ = with_answers(path, wrong, changes=changes)  # whatever the teachers say
    asked = golden.filter(pl.col("drawn").is_not_null())
    expected = np.eye(len(labels))[[labels.index(wrong[text_id]) for text_id in asked["id"]]]
    np.testing.assert_array_equal(asked["target"].to_numpy(), expected)
    assert (asked["weight"] > 0).all()
    others = golden.filter(pl.col("drawn").is_null())
    assert others["target"].arr.max().max() < 1
    assert (others["weight"] == 0).any() == ("abstain_below" in changes)


def test_without_answers_nothing_is_audited_and_numbers_are_as_before(tmp_path: Path) -> None:
    path = gate_project(tmp_path)
    params, layout = config.load(path)
    integrate(params, layout, layout.golden)
    before = pl.read_parquet(layout.golden / "*.parquet")
    golden, manifest = with_answers(path, {})
    assert golden.drop("drawn").equals(before)
    assert manifest["routing"]["estimate"]["audit"] == []


def test_answers_that_changed_are_refused(tmp_path: Path) -> None:
    path = gate_project(tmp_path)
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
    path = gate_project(tmp_path)
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
    path = gate_project(tmp_path)
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
    path = gate_project(tmp_path)
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


RESERVED = {"text": ["none", "(none)"], "id": ["drawn", " = x "], "chosen": ["answer", "Caf\u00e9"]}


def test_reserved_words_share_no_space_with_names(tmp_path: Path) -> None:
    """Teachers and labels may be called like the columns and answers of a review."""
    path = tiny.save_project(tmp_path, teachers=RESERVED)
    tiny.finish(path)
    params, layout = config.load(path)
    sample = sample_review(params, layout, 12).table
    assert {"teacher text", "teacher id", "teacher chosen", "chosen", "text", "id"} <= set(sample.columns)
    given = dict(zip(sample["id"], ["none", "((none))", "= x", "Cafe\u0301", "(none)", "drawn"], strict=False))
    # As Excel saves it in half of Europe.
    rows = sample.with_columns(answer=pl.col("id").replace_strict(given, default=""))
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbf" + rows.write_csv(separator=";", line_terminator="\r\n").encode())
    result = read_review(params, layout, tmp_path / "a.csv")
    assert (result.answered, result.unknown, result.judged) == (6, 1, 5)
    answers = read_answers(
        reference(tmp_path / "a.csv", layout.root), layout.root, open_labelled_corpus(params, layout).label_space
    )
    assert answers is not None
    assert len(answers.columns) == 5


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
