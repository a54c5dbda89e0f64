import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from muki_pipeline import config
from muki_pipeline.errors import MukiError
from muki_pipeline.evaluation.review import read_review, sample_review
from muki_pipeline.labels.tables import open_labelled_corpus
from muki_pipeline.routing.accuracy import share_of_random
from muki_pipeline.routing.annotation_tools.exports import TOOLS
from muki_pipeline.routing.answers import read_answers, reference, wilson_interval
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
    path = tiny.save_labelled(tmp_path)
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
    larger = sample_review(params, layout, 24).table
    assert sample["id"].is_in(larger["id"].to_list()).sum() >= 11, (
        "answers to a smaller sample are kept in a larger one"
    )


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


def answered_tasks(folder: Path, answers: dict[str, str]) -> list[Any]:
    """Label Studio's export JSON, with what it holds of an answer."""
    tasks = json.loads((folder / "tasks.json").read_text())
    for task in tasks:
        choices = [answers[task["data"]["text_id"]]]
        result = {"from_name": "answer", "to_name": "text", "type": "choices", "value": {"choices": choices}}
        task["annotations"] = [{"was_cancelled": False, "result": [result]}]
    return tasks


def answered_records(folder: Path, answers: dict[str, str]) -> list[Any]:
    """Argilla's export, with what it holds of an answer."""
    records = json.loads((folder / "records.json").read_text())
    for record in records:
        record |= {"status": "completed", "responses": {"answer": [{"value": answers[record["id"]], "user_id": "me"}]}}
    return records


@pytest.mark.parametrize(("tool", "answered"), [("label-studio", answered_tasks), ("argilla", answered_records)])
def test_answers_in_an_annotation_tool_say_what_those_in_a_csv_file_say(
    finished: Path, tmp_path: Path, tool: str, answered: Callable[..., list[Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    params, layout = config.load(finished)
    gold = dict(pl.read_parquet(layout.corpus_gold).iter_rows())
    review.main(finished, 24, None, True, True, tool)
    folder = layout.review_export(tool)
    said = " ".join(capsys.readouterr().err.split())
    assert f"{layout.review_page}: 24 texts. Open it in a browser" in said
    assert f"{folder}: 24 texts. {TOOLS[tool].HOW}, then run muki-pipeline review --read FILE" in said
    chosen = set(sample_review(params, layout, 24).table["chosen"])
    assert chosen == {"one", "two"}
    for file in folder.rglob("*.*"):
        assert file.is_dir() or not re.search(r"chosen|certainty|margin|predictions", file.read_text())
    export = tmp_path / "export.json"
    export.write_text(json.dumps(answered(folder, gold)))
    expected = read_review(params, layout, answer(finished, tmp_path / "a.csv", gold, texts=24))
    assert read_review(params, layout, export) == expected
    review.main(finished, 24, export)
    assert "24 of 24 texts answered" in capsys.readouterr().err
    asked = sample_review(params, layout, 24).table["id"][0]
    export.write_text(export.read_text().replace(asked, "alien"))
    with pytest.raises(MukiError, match="1 of its ids are not in the golden table: 'alien'"):
        read_review(params, layout, export)
    with pytest.raises(MukiError, match=f"review-{tool}: is there already"):
        review.main(finished, 24, None, False, False, tool)
    with pytest.raises(MukiError, match="--read: --html, --export and --keep write texts"):
        review.main(finished, 24, export, False, False, tool)
    with pytest.raises(MukiError, match="--export: no annotation tool 'doccano'"):
        review.main(finished, 24, None, False, False, "doccano")


@pytest.mark.parametrize("page", [False, True])
def test_a_larger_sample_keeps_the_answers_to_a_smaller_one(
    finished: Path, tmp_path: Path, page: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    params, layout = config.load(finished)
    given = dict.fromkeys(sample_review(params, layout, 12).table["id"][:9], "oak")
    given[next(iter(given))] = "none"
    file = answer(finished, tmp_path / "a.csv", given)
    review.main(finished, 20, None, page, True, None, file)
    assert f"9 answers from {file}" in capsys.readouterr().err
    if page:
        [content] = re.findall(r'id="data">(.*?)</script>', layout.review_page.read_text())
        written = {each["id"]: each["answer"] for each in json.loads(content)["texts"]}
    else:
        written = dict(pl.read_csv(layout.review).select("id", pl.col("answer").fill_null("")).iter_rows())
    assert len(written) == 20
    assert list(written.items())[:9] == list(given.items()), "the sample begins with them"
    assert not any(list(written.values())[9:])


def test_answers_that_cannot_be_kept_are_refused(finished: Path, tmp_path: Path) -> None:
    file = answer(finished, tmp_path / "a.csv", {})
    with pytest.raises(MukiError, match="nothing is answered there"):
        review.main(finished, 20, None, False, True, None, file)
    file = answer(
        finished, tmp_path / "b.csv", dict.fromkeys(sample_review(*config.load(finished), 12).table["id"], "oak")
    )
    with pytest.raises(MukiError, match="--texts: asks about 12 texts, and 12 are answered already"):
        review.main(finished, 12, None, False, True, None, file)
    file.write_text("id,drawn,stands_for,answer\nalien,random,2,oak\n")
    with pytest.raises(MukiError, match="1 of its ids are not in the golden table: 'alien'"):
        review.main(finished, 20, None, False, True, None, file)
    with pytest.raises(MukiError, match="--keep: annotation tools are given no answers"):
        review.main(finished, 20, None, False, True, "argilla", file)
    with pytest.raises(MukiError, match="--read: --html, --export and --keep write texts"):
        review.main(finished, 20, file, False, True, None, file)


def test_wilsons_interval() -> None:
    assert wilson_interval(9, 10) == pytest.approx((0.5958, 0.9821), abs=1e-4)
    assert wilson_interval(10, 10)[1] == pytest.approx(1.0)


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
