"""A project with teachers that are files, from labels to predictions."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

from muki_pipeline import config
from muki_pipeline.blocks import AnswerFile
from muki_pipeline.corpus.prepare import prepare
from muki_pipeline.embedding.run import embed_corpus
from muki_pipeline.errors import MukiError
from muki_pipeline.evaluation.comparison import compare
from muki_pipeline.evaluation.evaluate import evaluate
from muki_pipeline.evaluation.routed_teachers import open_routed_teachers
from muki_pipeline.labelling.answer_file.run import AnswerSummary
from muki_pipeline.labelling.run import label_corpus
from muki_pipeline.labels.tables import open_labelled_corpus
from muki_pipeline.layout import Layout
from muki_pipeline.store.table import Table
from muki_pipeline.supervision.integrate import integrate
from tests import tiny

LABELS = tiny.TEACHER_LABELS["two"]


def with_answers(folder: Path, content: str, name: str = "two.csv", **settings: Any) -> Path:
    """The tiny project, whose second teacher is a file."""
    path = tiny.save_project(folder)
    (folder / name).write_text(content)
    values = yaml.safe_load(path.read_text())
    values["teachers"]["two"] = {"answers": name, **settings}
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    return path


def texts_of(part: str = "corpus") -> list[str]:
    """The texts that `tiny.save_project` wrote."""
    return tiny.texts(30, {"corpus": 1, "test": 2}[part])


def wide(texts: list[str], seed: int = 0) -> str:
    probs = np.random.default_rng(seed).dirichlet([0.5, 0.5], len(texts))
    rows = [f'"{text}",{first!r},{second!r}' for text, (first, second) in zip(texts, probs.tolist(), strict=True)]
    return "\n".join(["text,oak,elm", *rows]) + "\n"


def label(path: Path, name: str = "two") -> tuple[AnswerSummary, pl.DataFrame]:
    params, layout = config.load(path)
    prepare(params.prepare, layout)
    done = label_corpus(name, params.teachers[name], params.label, layout)
    assert isinstance(done, AnswerSummary)
    return done, Table.open(layout.labels(name), "").frame()


def test_the_table_holds_what_the_file_says(tmp_path: Path) -> None:
    path = with_answers(tmp_path, "")
    texts = texts_of()
    with_answers(tmp_path, wide(texts))
    done, table = label(path)
    assert (done.rows, done.new_rows, done.unanswered, done.labels) == (30, 30, 0, ("oak", "elm"))
    expected = np.random.default_rng(0).dirichlet([0.5, 0.5], len(texts))
    assert table["answers"].min() == 1
    first = {text: row for row, text in reversed(list(enumerate(texts)))}
    corpus = Table.open(Layout(tmp_path).corpus, "").frame()["text"].to_list()
    once = [number for number, text in enumerate(corpus) if corpus.count(text) == 1]
    got = table["probs"].to_numpy()[once]
    np.testing.assert_allclose(got, expected[[first[corpus[number]] for number in once]], atol=1e-6)
    assert table["expected_entropy"].null_count() == table["tokens"].null_count() == 30
    again, _ = label(path)
    assert again.new_rows == 0


def test_a_changed_file_or_setting_is_read_again(tmp_path: Path) -> None:
    path = with_answers(tmp_path, "")
    texts = texts_of()
    with_answers(tmp_path, wide(texts))
    label(path)
    with_answers(tmp_path, wide(texts, seed=1))
    assert label(path)[0].new_rows == 30
    with_answers(tmp_path, wide(texts, seed=1), most_unanswered=0.5)
    assert label(path)[0].new_rows == 0
    with_answers(tmp_path, wide(texts, seed=1), labels=["elm", "oak"])
    done, _ = label(path)
    assert (done.new_rows, done.labels) == (30, ("elm", "oak"))


@pytest.mark.parametrize("change", ["the file", "how it is read"])
def test_integrate_refuses_labels_of_a_file_that_has_changed(tmp_path: Path, change: str) -> None:
    path = with_answers(tmp_path, "")
    with_answers(tmp_path, wide(texts_of()))
    tiny.label(path)
    params, layout = config.load(path)
    integrate(params, layout, layout.golden)
    (tmp_path / "two.csv").rename(tmp_path / "away.csv")
    assert not integrate(params, layout, layout.golden).is_new, "a clone may have the tables without the file"
    if change == "the file":
        with_answers(tmp_path, wide(texts_of(), seed=1))
    else:
        with_answers(tmp_path, wide(texts_of()), labels=["elm", "oak"])
    params, layout = config.load(path)
    with pytest.raises(MukiError, match=r"teacher two: this file.*Run muki-pipeline label --teacher two") as error:
        integrate(params, layout, layout.golden)
    assert error.value.where == "two.csv"
    label(path)
    assert integrate(params, layout, layout.golden).is_new


def test_unanswered_texts_are_uniform_and_counted_and_too_many_are_refused(tmp_path: Path) -> None:
    path = with_answers(tmp_path, "")
    texts = texts_of()
    few = [text for text in texts if text not in texts[:3]]
    with_answers(tmp_path, wide(few))
    done, table = label(path)
    assert done.unanswered >= 3
    assert {*done.missing} <= {*texts[:3]}
    silent = table.filter(pl.col("answers") == 0)
    assert len(silent) == done.unanswered
    assert silent["probs"].to_list()[0] == [0.5, 0.5]
    with_answers(tmp_path, wide(few), most_unanswered=0.01)
    with pytest.raises(MukiError, match=r"answers 27 of the corpus's 30 texts.*raise teachers\.two\.most_unanswered"):
        label(path)
    with_answers(tmp_path, wide(["never seen", "nor this"]))
    with pytest.raises(MukiError, match=r"answers 0 of .* 30 texts.*must hold the texts of data/corpus"):
        label(path)


@pytest.mark.parametrize("scorer", ["mc_entropy", "calibrated", "gate"])
def test_a_silent_teacher_has_no_vote(tmp_path: Path, scorer: str) -> None:
    path = with_answers(tmp_path, "")
    texts = texts_of()
    with_answers(tmp_path, wide([text for text in texts if text not in texts[:4]]))
    strategy = "soft" if scorer == "mc_entropy" else "posterior"
    tiny.change(path, "integrate", scorer=scorer, strategy=strategy)
    tiny.label(path)
    params, layout = config.load(path)
    integrate(params, layout, layout.golden)
    golden = Table.open(layout.golden, "").frame()
    silent = Table.open(layout.labels("two"), "").frame()["answers"] == 0
    assert silent.sum() >= 4
    assert set(golden.filter(silent)["teacher"]) == {"one"}
    labels = Table.open(layout.golden, "").facts["labels"]
    of_two = [labels.index(label) for label in LABELS]
    assert golden.filter(silent)["target"].to_numpy()[:, of_two].max() == 0
    np.testing.assert_allclose(golden["target"].to_numpy().sum(axis=1), 1, atol=1e-6)


def test_a_silent_teacher_is_not_chosen_where_the_other_knows_nothing(tmp_path: Path) -> None:
    """A uniform answer has the confidence 0, which is what a silent teacher's would be."""
    path = with_answers(tmp_path, "")
    texts = texts_of()
    with_answers(tmp_path, wide([text for text in texts if text not in texts[:4]]))
    (tmp_path / "one.csv").write_text("\n".join(["text,apple,pear", *(f'"{text}",0.5,0.5' for text in texts)]))
    values = yaml.safe_load(path.read_text())
    values["teachers"]["one"] = {"answers": "one.csv"}
    path.write_text(yaml.safe_dump(values))
    for strategy in ("hard", "soft"):
        tiny.change(path, "integrate", scorer="mc_entropy", strategy=strategy)
        tiny.label(path)
        params, layout = config.load(path)
        integrate(params, layout, layout.golden)
        golden = Table.open(layout.golden, "").frame()
        silent = Table.open(layout.labels("two"), "").frame()["answers"] == 0
        assert np.isfinite(golden["target"].to_numpy()).all()
        assert set(golden.filter(silent)["teacher"]) == {"one"}
        assert golden.filter(silent)["margin"].max() < 1e-5  # it leads nobody


@pytest.mark.parametrize("settings", [{}, {"unknown_share": 0.2, "unknown_label": "other"}])
def test_a_text_that_nobody_answers_is_not_taught(tmp_path: Path, settings: dict[str, Any]) -> None:
    path = with_answers(tmp_path, "")
    texts = texts_of()
    with_answers(tmp_path, wide([text for text in texts if text not in texts[:4]]))
    values = yaml.safe_load(path.read_text())
    values["teachers"] = {"two": values["teachers"]["two"]}
    values["integrate"] = settings
    path.write_text(yaml.safe_dump(values))
    tiny.label(path)
    params, layout = config.load(path)
    done = integrate(params, layout, layout.golden)
    corpus = pl.read_parquet(layout.corpus / "*.parquet").select("id", silent=pl.col("text").is_in(texts[:4]))
    golden = pl.read_parquet(layout.golden / "*.parquet").join(corpus, on="id")
    assert golden.filter("silent")["weight"].to_list() == [0] * done.abstained
    assert done.abstained >= 4
    assert (golden.filter(~pl.col("silent"))["weight"] > 0).all()
    answered = len(golden) - done.abstained
    assert done.foreign == pytest.approx(settings.get("unknown_share", 0) * answered, abs=1), "of those with an answer"


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"scorer": "energy", "strategy": "soft"}, "integrate.scorer"),
        ({"scorer": "mutual_information", "strategy": "soft"}, "integrate.scorer"),
        ({"strategy": "concat", "scorer": "mc_entropy"}, "integrate.strategy"),
        ({"strategy": "cfl", "scorer": "mc_entropy"}, "integrate.strategy"),
    ],
)
def test_rules_that_need_what_a_file_lacks_are_refused(tmp_path: Path, settings: dict[str, Any], key: str) -> None:
    path = with_answers(tmp_path, "")
    with_answers(tmp_path, wide(texts_of()))
    values = yaml.safe_load(path.read_text())
    values["integrate"] = settings
    path.write_text(yaml.safe_dump(values))
    tiny.label(path)
    params, layout = config.load(path)
    with pytest.raises(MukiError, match="files of answers without them") as error:
        integrate(params, layout, layout.golden)
    assert error.value.where == key


def test_compare_leaves_out_such_rules(tmp_path: Path) -> None:
    path = with_answers(tmp_path, "")
    with_answers(tmp_path, wide(texts_of()))
    tiny.label(path)
    params, layout = config.load(path)
    corpus = open_labelled_corpus(params, layout)
    rules = [rule for rule in compare.RULES if not compare._obstacle(rule, params, corpus, {})]
    assert {"muki", "muki_hard", "uhc", "gate", "calibrated"} <= set(rules)
    assert not {"concat", "cfl", "dfa", "energy", "mutual_information"} & set(rules)


def test_samples_give_a_mutual_information(tmp_path: Path) -> None:
    path = with_answers(tmp_path, "")
    drawn = np.random.default_rng(0)
    rows = [{"text": text, "label": str(drawn.choice(LABELS))} for text in texts_of() for _ in range(8)]
    with_answers(tmp_path, "\n".join(json.dumps(row) for row in rows), "two.jsonl")
    tiny.change(path, "integrate", scorer="mutual_information", strategy="soft")
    tiny.label(path)
    params, layout = config.load(path)
    table = Table.open(layout.labels("two"), "").frame()
    assert table["expected_entropy"].max() == 0
    assert table["answers"].min() >= 8
    integrate(params, layout, layout.golden)
    evaluation = evaluate_student(path)
    assert "energy" not in evaluation["corpus"]
    assert "mutual_information" in evaluation["corpus"]


def test_a_text_without_samples_counts_by_who_answers_it(tmp_path: Path) -> None:
    path = with_answers(tmp_path, "")
    drawn, unanswered = np.random.default_rng(0), texts_of()[:4]
    answered = [text for text in texts_of() if text not in unanswered]
    rows = [{"text": text, "label": str(drawn.choice(LABELS))} for text in answered for _ in range(8)]
    with_answers(tmp_path, "\n".join(json.dumps(row) for row in rows), "two.jsonl")
    tiny.change(path, "integrate", scorer="mutual_information", strategy="soft")
    tiny.label(path)
    params, layout = config.load(path)
    integrate(params, layout, layout.golden)
    silent = Table.open(layout.labels("two"), "").frame()["answers"] == 0
    assert silent.sum() >= 4
    assert Table.open(layout.golden, "").frame().filter(silent)["margin"].min() > 0.1


def evaluate_student(path: Path) -> dict[str, Any]:
    from muki_pipeline.training.student.train import train_student

    params, layout = config.load(path)
    train_student(params, layout)
    return evaluate(params, layout).metrics


def test_evaluate_asks_a_file_what_it_answers(tmp_path: Path) -> None:
    path = with_answers(tmp_path, "")
    with_answers(tmp_path, wide(texts_of()))
    tiny.finish(path)
    params, layout = config.load(path)
    measured = evaluate(params, layout).metrics
    assert "two" not in measured["teachers"] or measured["teachers"]["two"]["rows"] < 12
    routed = open_routed_teachers(params, layout)
    with pytest.raises(MukiError, match="has no answer of teacher two to 1 of 1 texts: 'never seen'"):
        routed.probs(["never seen"])
    shutil.rmtree(tmp_path / "data")
    with_answers(tmp_path, wide(sorted({*texts_of(), *texts_of("test")})))
    tiny.finish(path)
    measured = evaluate(*config.load(path)).metrics
    assert measured["routed_teachers"]["rows"] == 30
    assert measured["teachers"]["two"]["rows"] == 12


def test_a_text_that_a_file_leaves_to_the_others_is_asked(tmp_path: Path) -> None:
    """As an LLM does that may say "none of these": its row is there, without an answer."""
    texts = sorted({*texts_of(), *texts_of("test")})
    rows = [f'"{text}",' + ("" if number % 4 == 0 else "oak") for number, text in enumerate(texts)]
    path = with_answers(tmp_path, "\n".join(["text,label", *rows]), labels=LABELS, most_unanswered=0.5)
    tiny.finish(path)
    params, layout = config.load(path)
    measured = evaluate(params, layout).metrics
    assert measured["routed_teachers"]["rows"] == 30
    routed = open_routed_teachers(params, layout)
    one = routed.router.label_space.columns[0]
    declined = [text for number, text in enumerate(texts) if number % 4 == 0]
    assert set(routed.probs(declined).argmax(axis=1)) <= set(one)
    with pytest.raises(MukiError, match="has no answer of teacher two to 1 of 2 texts: 'never seen'"):
        routed.probs([declined[0], "never seen"])


def test_faults_of_the_settings_name_the_key(tmp_path: Path) -> None:
    path = with_answers(tmp_path, "", labls=["a", "b"])
    with pytest.raises(MukiError, match=r"teachers\.two\.labls.*did you mean labels"):
        config.load(path)
    with_answers(tmp_path, "", model="m")
    with pytest.raises(MukiError, match=r"teachers\.two\.model: Extra inputs are not permitted \(got 'm'\)\."):
        config.load(path)
    values = yaml.safe_load(path.read_text())
    values["teachers"]["two"] = {}
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(MukiError, match=r"teachers\.two\.model: Field required"):
        config.load(path)
    assert AnswerFile(answers="x.csv").most_unanswered == 0.2


def test_no_torch_is_loaded(tmp_path: Path) -> None:
    path = with_answers(tmp_path, "")
    with_answers(tmp_path, wide(texts_of()))
    code = (
        "import sys; from muki_stages import label, prepare; from pathlib import Path\n"
        f"path = Path({str(path)!r}); prepare.main(path); label.main('two', path)\n"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules, 'loaded'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert "30 answers to 30 of 30 texts" in done.stdout + done.stderr


def test_embeddings_need_no_network_teacher(tmp_path: Path) -> None:
    """All teachers may be files."""
    path = with_answers(tmp_path, "")
    texts = texts_of()
    with_answers(tmp_path, wide(texts))
    (tmp_path / "one.csv").write_text("\n".join(["text,label", *(f'"{text}",apple' for text in texts), '"x",pear']))
    values = yaml.safe_load(path.read_text())
    values["teachers"]["one"] = {"answers": "one.csv"}
    values["integrate"] = {}
    path.write_text(yaml.safe_dump(values))
    params, layout = config.load(path)
    prepare(params.prepare, layout)
    for name, teacher in params.teachers.items():
        label_corpus(name, teacher, params.label, layout)
    embed_corpus(params, layout)
    integrate(params, layout, layout.golden)
    assert Table.open(layout.golden, "").facts["teachers"]["one"]["gives"] == []
