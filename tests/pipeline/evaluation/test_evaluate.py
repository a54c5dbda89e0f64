import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
import yaml

from muki_pipeline import config
from muki_pipeline.corpus.prepare import prepare
from muki_pipeline.embedding.run import embed_corpus
from muki_pipeline.errors import MukiError
from muki_pipeline.evaluation.evaluate import Evaluation, evaluate
from muki_pipeline.evaluation.gold_labels import read_corpus_gold
from muki_pipeline.evaluation.routed_teachers import open_routed_teachers
from muki_pipeline.labelling.labeller import Labeller
from muki_pipeline.progress import SILENT, Task
from muki_pipeline.reporting.figures import uncertainty_figure
from muki_pipeline.reporting.inspect import inspect_store, inspect_text
from muki_pipeline.reporting.report.golden import golden_summary
from muki_pipeline.routing.answers import reference
from muki_pipeline.routing.confidence import softmax
from muki_pipeline.routing.scorers import SCORERS
from muki_pipeline.store.columns import arrow
from muki_pipeline.store.table import write_table_file
from muki_pipeline.supervision.integrate import integrate
from muki_pipeline.training.student.train import train_student
from tests import tiny
from tests.recorder import Recorder


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project after all stages but `evaluate`."""
    path = tiny.save_project(tmp_path_factory.mktemp("finished"), evaluate={"routing_rows_per_label": 4})
    tiny.finish(path)
    return path


def run(path: Path) -> Evaluation:
    params, layout = config.load(path)
    return evaluate(params, layout)


@pytest.fixture(scope="module")
def found(finished: Path) -> Evaluation:
    return run(finished)


def test_the_student_is_measured_on_all_labels(finished: Path, found: Evaluation) -> None:
    from transformers import pipeline

    _, layout = config.load(finished)
    test = pl.read_parquet(layout.test)
    classify = pipeline("text-classification", str(layout.student))
    predicted = [said["label"] for said in classify(test["text"].to_list(), truncation=True, max_length=24)]
    assert found.confusion["predicted"].to_list() == predicted
    assert found.confusion["actual"].to_list() == test["label"].to_list()
    right = np.array(predicted) == test["label"].to_numpy()
    student = found.metrics["student"]
    assert student["accuracy"] == pytest.approx(right.mean())
    own = test["label"].is_in(tiny.TEACHER_LABELS["two"]).to_numpy()
    assert student["block_accuracy"]["two"] == pytest.approx(right[own].mean())
    names = tiny.TEACHER_LABELS["two"]
    said = classify(
        [text for text, is_own in zip(test["text"], own, strict=True) if is_own],
        truncation=True,
        max_length=24,
        top_k=None,
    )
    best = [next(each["label"] for each in one if each["label"] in names) for one in said]
    teacher = found.metrics["teachers"]["two"]
    assert teacher["rows"] == own.sum()
    assert teacher["student_accuracy_on_these"] == student["block_accuracy"]["two"]
    assert teacher["student_own_block_accuracy_on_these"] == pytest.approx(
        (np.array(best) == test["label"].to_numpy()[own]).mean()
    )
    assert student["rows"] == 30
    assert 0 <= student["expected_calibration_error"] <= 1


def test_teacher_selection_is_counted_from_the_labels(finished: Path, found: Evaluation) -> None:
    _, layout = config.load(finished)
    gold = pl.read_parquet(layout.corpus_gold)["label"]
    entropies = [pl.read_parquet(layout.labels(name) / "*.parquet")["entropy"] for name in tiny.TEACHER_LABELS]
    scores = np.stack([1 - entropies[0] / np.log(3), 1 - entropies[1] / np.log(2)], axis=1)
    right = gold.is_in(tiny.TEACHER_LABELS["two"]).cast(int).to_numpy()
    measured = found.metrics["corpus"]["mc_entropy"]
    assert measured["right_teacher_best"] == pytest.approx((scores.argmax(axis=1) == right).mean())
    golden_table = pl.read_parquet(layout.golden / "*.parquet")
    labels = [label for known in tiny.TEACHER_LABELS.values() for label in known]
    target = golden_table["target"].to_numpy()
    columns = np.array([labels.index(label) for label in gold])
    assert measured["target_accuracy"] == pytest.approx((target.argmax(axis=1) == columns).mean())
    assert measured["target_kl_to_gold"] == pytest.approx(-np.log(target[np.arange(30), columns]).mean(), rel=1e-5)
    assert set(found.metrics["corpus"]) == {"rows", "rows_of_known_labels", *SCORERS}


def test_routing_is_the_hard_rule_on_a_sample(finished: Path, found: Evaluation) -> None:
    _, layout = config.load(finished)
    test = pl.read_parquet(layout.test)
    chosen = test.filter(pl.int_range(pl.len()).over("label") < 4)
    assert found.metrics["routed_teachers"]["rows"] == len(chosen) == 20
    work = [pl.read_parquet(path) for path in (layout.work / "labels").glob("*.parquet")]
    said = {frame.schema["probs"].size: frame for frame in work if frame["id"].equals(chosen["id"])}
    scores = np.stack([1 - said[3]["entropy"] / np.log(3), 1 - said[2]["entropy"] / np.log(2)], axis=1)
    best = [
        (tiny.TEACHER_LABELS["one"][first], tiny.TEACHER_LABELS["two"][second])[winner]
        for first, second, winner in zip(
            softmax(said[3]["logits"].to_numpy()).argmax(1),
            softmax(said[2]["logits"].to_numpy()).argmax(1),
            scores.argmax(1),
            strict=True,
        )
    ]
    expected = (np.array(best) == chosen["label"].to_numpy()).mean()
    assert found.metrics["routed_teachers"]["accuracy"] == pytest.approx(expected)


def test_no_network_answers_twice(finished: Path, found: Evaluation, tmp_path: Path) -> None:
    shutil.copytree(finished.parent, tmp_path / "p")
    path = tmp_path / "p" / "params.yaml"

    def asked() -> tuple[set[str], Evaluation]:
        recorder = Recorder()
        result = evaluate(*config.load(path), recorder)
        return {task.name for task in recorder.tasks}, result

    names, again = asked()
    assert names == set()
    assert again.metrics == found.metrics
    tiny.change(path, "student", max_length=8)
    with pytest.raises(MukiError, match=r"trained with another student\.max_length than .* train-student"):
        asked()
    tiny.finish(path)
    assert asked()[0] == {"student"}
    tiny.change(path, "evaluate", routing_rows_per_label=3)
    assert asked()[0] == {"one for routing", "two for routing"}
    (tmp_path / "p" / "test.csv").write_text("topic,body\noak,w1 w2 w3\n")
    params, layout = config.load(path)
    prepare(params.prepare, layout)
    assert asked()[0] == {"student", "one for routing", "two for routing", "two on its own labels"}


def test_histograms_are_shares_of_right_and_of_wrong_pairs(found: Evaluation, tmp_path: Path) -> None:
    sums = found.uncertainty.group_by("scorer", "teacher").agg(pl.col("share").sum())
    assert len(sums) == 2 * len(SCORERS)
    np.testing.assert_allclose(sums["share"], 1)
    uncertainty_figure(found.uncertainty).savefig(tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_without_gold_labels_there_is_nothing_to_measure(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished.parent, tmp_path / "copy")
    shutil.rmtree(tmp_path / "copy" / "data" / "eval")
    with pytest.raises(MukiError, match="there are no gold labels"):
        run(tmp_path / "copy" / "params.yaml")


def test_only_what_can_be_measured_is(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished.parent, tmp_path / "copy")
    (tmp_path / "copy" / "data" / "eval" / "corpus_gold.parquet").unlink()
    found = run(tmp_path / "copy" / "params.yaml")
    assert set(found.metrics) == {"test_set", "student", "teachers", "routed_teachers", "drift"}
    assert found.uncertainty.is_empty()


def test_a_student_of_other_labels_is_refused(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished.parent, tmp_path / "copy")
    path = tmp_path / "copy" / "params.yaml"
    content = yaml.safe_load(path.read_text())
    del content["teachers"]["two"]
    path.write_text(yaml.safe_dump(content))
    params, layout = config.load(path)
    embed_corpus(params, layout)
    with pytest.raises(MukiError, match=r"golden: was made from the teachers one, two, not .* muki-pipeline run"):
        evaluate(params, layout)
    integrate(params, layout, layout.golden)
    with pytest.raises(MukiError, match="its 5 labels are not the 3 that the teachers"):
        run(path)


def test_inspect_shows_the_store(finished: Path) -> None:
    params, layout = config.load(finished)
    store = inspect_store(params, layout)
    labels = pl.read_parquet(layout.labels("one") / "*.parquet")
    one = store["teachers"]["one"]
    assert (one["shards"], one["rows"], one["labels"], one["passes"]) == (4, 30, tiny.TEACHER_LABELS["one"], 3)
    assert one["mean_entropy"] == pytest.approx(labels["entropy"].mean())
    assert one["truncated"] == labels["truncated"].sum()
    assert store["golden"]["labels"] == ["apple", "pear", "plum", "oak", "elm"]


def test_inspect_shows_one_text(finished: Path) -> None:
    params, layout = config.load(finished)
    row = pl.read_parquet(layout.golden / "*.parquet").row(17, named=True)
    text = inspect_text(params, layout, row["id"])
    assert text["text"] == row["text"]
    assert list(text["golden"]["target"].values()) == row["target"]
    assert text["golden"]["weight"] == row["weight"]
    labels = pl.read_parquet(layout.labels("two") / "*.parquet").row(17, named=True)
    assert text["teachers"]["two"]["probs"] == dict(zip(tiny.TEACHER_LABELS["two"], labels["probs"], strict=True))
    with pytest.raises(MukiError, match="no text has the id 'nowhere'"):
        inspect_text(params, layout, "nowhere")


def test_test_texts_of_unknown_labels_are_counted_and_named(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished.parent, tmp_path / "p")
    path = tmp_path / "p" / "params.yaml"
    lines = [f'{label},"{text}"' for label, text in zip([" oak", "Elm", "fir"] * 10, tiny.texts(30), strict=True)]
    (path.parent / "test.csv").write_text("\n".join(["topic,body", *lines]) + "\n")
    params, layout = config.load(path)
    prepare(params.prepare, layout)
    found = run(path).metrics
    assert found["student"]["rows"] == 10, "blanks do not matter, letters do"
    assert found["test_set"]["rows"] == 30
    assert found["test_set"]["rows_of_unknown_labels"] == 20
    named = found["test_set"]["unknown_labels"]
    assert "'Elm' (10, did you mean 'elm'?)" in named
    assert "'fir' (10)" in named


def test_what_is_measured_is_the_rule_that_the_student_learned_from(finished: Path, tmp_path: Path) -> None:
    """With a person's answers the gate is another one, and answered texts have their answer as target."""
    shutil.copytree(finished.parent, tmp_path / "p")
    path = tmp_path / "p" / "params.yaml"
    params, layout = config.load(path)
    gold = pl.read_parquet(layout.corpus_gold)
    answers = gold[::2].select("id", drawn=pl.lit("random"), stands_for=pl.lit(2.0), answer=pl.col("label"))
    answers.write_csv(tmp_path / "p" / "answers.csv")
    gate = {"strategy": "posterior", "scorer": "gate"}
    content = yaml.safe_load(path.read_text())
    for named in (None, reference(tmp_path / "p" / "answers.csv", layout.root)):
        path.write_text(yaml.safe_dump(content | {"integrate": gate | ({"answers": named} if named else {})}))
        params, layout = config.load(path)
        integrate(params, layout, layout.golden)
        with pytest.raises(MukiError, match="student: was trained from another golden table"):
            run(path)
        train_student(params, layout)
        golden = pl.read_parquet(layout.golden / "*.parquet")
        columns = [["apple", "pear", "plum", "oak", "elm"].index(label) for label in gold["label"]]
        right = (golden["target"].to_numpy().argmax(axis=1) == np.array(columns)).mean()
        measured = run(path).metrics
        assert measured["student"]["rows"] == 30
        assert measured["corpus"]["gate"]["target_accuracy"] == pytest.approx(right)
    assert right >= 0.5, "every other text has its answer"


@pytest.mark.parametrize(
    ("block", "values", "named"),
    [
        ("integrate", {"strategy": "hard"}, "integrate.strategy"),
        ("integrate", {"aliases": {"one": {"plum": "elm"}}}, "integrate.aliases"),
        ("student", {"temperature": 3.0}, "student.temperature"),
    ],
)
def test_settings_that_taught_nobody_are_not_measured(
    finished: Path, tmp_path: Path, block: str, values: dict[str, Any], named: str
) -> None:
    shutil.copytree(finished.parent, tmp_path / "p")
    path = tmp_path / "p" / "params.yaml"
    tiny.change(path, block, **values)
    with pytest.raises(MukiError, match=f"golden: was made with another {named} than params.yaml's"):
        run(path)


def test_one_network_is_in_memory_at_a_time(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    routed = open_routed_teachers(*config.load(finished))
    held: list[int] = []

    def counted(self: Labeller, texts: pa.Table, task: Task) -> pa.Table:
        held.append(sum("labeller" in vars(teacher) for teacher in routed.teachers.values()))
        return label(self, texts, task)

    label = Labeller.label
    monkeypatch.setattr(Labeller, "label", counted)
    texts = ["a text that nobody has asked about"]
    for name in routed.teachers:
        routed.logits(name, SILENT, texts)
    routed.probs(texts)
    assert held == [1, 1]


def test_a_teacher_with_another_dropout_is_not_routed(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished.parent, tmp_path / "p")
    path = tmp_path / "p" / "params.yaml"
    content = yaml.safe_load(path.read_text())
    content["teachers"]["two"]["dropout"] = 0.4
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    with pytest.raises(MukiError, match=r"router: teachers\.two has changed\. Run muki-pipeline label --teacher two"):
        open_routed_teachers(*config.load(path))


def test_student_and_file_are_compared_on_the_texts_that_the_file_answers(tmp_path: Path) -> None:
    """Of 12 test texts of its labels it answers four, rightly."""
    path = tiny.save_project(tmp_path)
    corpus, test = (pl.read_csv(tmp_path / f"{part}.csv") for part in ("corpus", "test"))
    own = test.filter(pl.col("topic").is_in(tiny.TEACHER_LABELS["two"]))
    answered = pl.concat([corpus.with_columns(topic=pl.lit("oak")), own[:4]]).unique("body", keep="last")
    answered.select(text="body", label="topic").write_csv(tmp_path / "two.csv")
    content = yaml.safe_load(path.read_text())
    content["teachers"]["two"] = {"answers": "two.csv", "labels": tiny.TEACHER_LABELS["two"]}
    content["integrate"]["scorer"] = "max_probability"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    tiny.finish(path)
    found = run(path)
    asked = pl.read_parquet(config.load(path)[1].test)["text"]
    right = (found.confusion["actual"] == found.confusion["predicted"]).filter(asked.is_in(own["body"][:4].to_list()))
    teacher = found.metrics["teachers"]["two"]
    assert (teacher["rows"], teacher["own_block_accuracy"]) == (4, 1.0)
    assert teacher["student_accuracy_on_these"] == right.mean()
    assert teacher["student_own_block_accuracy_on_these"] >= teacher["student_accuracy_on_these"]


def test_texts_without_a_gold_label_are_beside_those_with_one(tmp_path: Path) -> None:
    """`prepare.extra` has none, and the report does not count them as mistakes."""
    path = tiny.save_project(tmp_path)
    content = yaml.safe_load(path.read_text())
    content["prepare"]["corpus"]["label"] = "topic"
    (tmp_path / "more.csv").write_text("\n".join(["body", *filter(None, tiny.texts(12, seed=7))]) + "\n")
    content["prepare"]["extra"] = [{"source": "more.csv", "text": "body"}]
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    tiny.finish(path)
    params, layout = config.load(path)
    measured = evaluate(params, layout).metrics["corpus"]
    gold = read_corpus_gold(layout)
    rows = pl.read_parquet(layout.corpus / "*.parquet").height
    assert measured["rows"] == measured["rows_of_known_labels"] == len(gold) < rows
    summary = golden_summary(params, layout, gold)
    assert set(summary.by_gold) <= set(gold.values())
    assert sum(int(counts.sum()) for counts in summary.by_gold.values()) <= len(gold)


@pytest.mark.parametrize(
    "change", [{"scorer": "energy"}, {"aliases": {"two": {"oak": "apple"}}}], ids=["scorer", "aliases"]
)
def test_teachers_are_not_routed_by_settings_of_before(finished: Path, tmp_path: Path, change: dict[str, Any]) -> None:
    shutil.copytree(finished.parent, tmp_path / "p")
    path = tmp_path / "p" / "params.yaml"
    tiny.change(path, "integrate", **change)
    with pytest.raises(MukiError, match=r"was fitted with another integrate\.scorer or aliases"):
        open_routed_teachers(*config.load(path))


def test_gold_labels_that_no_teacher_knows_do_not_keep_the_test_set_from_being_measured(
    finished: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(finished.parent, tmp_path / "p")
    path = tmp_path / "p" / "params.yaml"
    _, layout = config.load(path)
    gold = pl.read_parquet(layout.corpus_gold).with_columns(label=pl.lit("unheard of"))
    write_table_file(layout.corpus_gold, arrow(gold))
    measured = run(path).metrics
    assert "corpus" not in measured
    assert "accuracy" in measured["student"]
    assert "no teacher knows any of its labels" in caplog.text
    layout.test.unlink()
    with pytest.raises(MukiError, match="no teacher knows any of its labels"):
        run(path)
