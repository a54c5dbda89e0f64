"""The charts: each says what it finds, and has the numbers that it draws behind it."""

import re

import numpy as np
import polars as pl
import pytest

from muki_pipeline.reporting.report.charts import corpus, student, teaching
from muki_pipeline.reporting.report.charts.chart import MOST_ROWS, Table, amount
from muki_pipeline.reporting.report.charts.labels import label_chart, near_names
from muki_pipeline.reporting.report.charts.routing import uncertainty_charts


def test_the_flow_is_as_wide_as_its_texts() -> None:
    chart = teaching.flow_chart(["one", "two"], ["a", "<b>", "c"], np.array([[60, 0], [10, 30], [0, 0]]))
    finding = chart.finding.replace("\N{NO-BREAK SPACE}", " ")
    assert finding == "one teaches 70.0 % of the texts; a is taught most, from 60 texts; 1 label from none"
    assert chart.table.rows == [["a", "60", "0", "60"], ["c", "0", "0", "0"], ["<b>", "10", "30", "40"]]
    found = re.findall(r'd="[^v]*v([\d.]+)[^>]*><title>([^<]+)', chart.drawing)
    bands = {told: float(thick) for thick, told in found}
    assert bands["one → a: 60 texts"] == pytest.approx(6 * bands["one → &lt;b&gt;: 10 texts"], rel=0.01)
    assert bands["two → &lt;b&gt;: 30 texts"] == pytest.approx(3 * bands["one → &lt;b&gt;: 10 texts"], rel=0.01)
    assert len(bands) == 3


def test_many_labels_are_drawn_as_the_largest_and_the_others() -> None:
    counts = np.zeros((150, 2), dtype=np.int64)
    counts[:, 0] = np.arange(1, 151)
    chart = teaching.flow_chart(["one", "two"], [f"l{number}" for number in range(150)], counts)
    assert chart.drawing.count("<title>") == 2 * (teaching.SHOWN + 1)
    assert f"{150 - teaching.SHOWN} others {int(np.arange(1, 151 - teaching.SHOWN).sum()):,}" in chart.drawing
    assert len(chart.table.rows) == 150


def test_a_teacher_alone_teaches_all() -> None:
    chart = teaching.flow_chart(["one"], ["a"], np.array([[1]]))
    assert chart.finding == "one teaches all 1 text; a is taught most, from 1 text"
    assert not chart.legend


def test_gold_labels_tell_who_should_have_taught() -> None:
    by_gold = {"a": np.array([8, 2]), "b": np.array([0, 10]), "strange": np.array([1, 0])}
    chart = teaching.gold_chart(["one", "two"], by_gold, {"a": [True, False], "b": [True, True]})
    assert chart.finding == "A teacher that knows the true label teaches 18 of 21 texts; least for strange"
    assert [row[-1] for row in chart.table.rows] == ["0 of 1", "8 of 10", "10 of 10"]


def test_the_chosen_rule_and_the_papers_come_first() -> None:
    scorers = ("energy", "mc_entropy", "gate")
    panels = pl.concat(
        pl.DataFrame({"scorer": name, "teacher": teacher, "uncertainty": [0.25, 0.75], "share": shares})
        for name in scorers
        for teacher, shares in (("right", [0.9, 0.1]), ("wrong", [0.2, 0.8]))
    )
    charts = uncertainty_charts(panels, {"gate": {"right_teacher_auroc": 0.998, "right_teacher_best": 0.9}}, "gate")
    gate, papers, energy = (chart.finding.replace("\N{NO-BREAK SPACE}", " ") for chart in charts)
    assert gate.startswith("Three views, the chosen rule: a right teacher is surer than a wrong one in 99.8 % of pairs")
    assert "the paper's rule: not measured" in papers
    assert energy == "Energy, standardised: not measured"
    assert [row[0] for row in charts[0].table.rows] == ["0.250", "0.750"]
    assert charts[0].drawing.count("<polygon") == 2


MEASURED = {
    "student": {"rows": 1200, "accuracy": 0.75},
    "teachers": {
        name: {
            "rows": 600,
            "own_block_accuracy": teacher,
            "student_accuracy_on_these": among_all,
            "student_own_block_accuracy_on_these": among_own,
        }
        for name, teacher, among_all, among_own in [("one", 0.8, 0.65, 0.7), ("two", 0.9, 0.85, 0.9)]
    },
}


def test_the_student_stands_beside_each_teacher() -> None:
    chart = student.accuracy_chart(MEASURED)
    assert chart is not None
    expected = "Among the same labels, the student is up to 10.0 points behind its teachers, most behind one"
    assert chart.finding == expected
    assert chart.drawing.count("<circle") == 5
    assert "one: the student 0.700 among the teacher" in chart.drawing
    assert chart.drawing.count("<rect") == 2
    assert student.accuracy_chart({}) is None


@pytest.mark.parametrize(
    ("accuracy", "said"),
    [([0.6, 0.9], "as sure as it is right"), ([0.4, 0.7], "20.0 points too sure"), ([0.7, 1.0], "less sure than")],
)
def test_calibration_is_said_in_points(accuracy: list[float], said: str) -> None:
    bins = pl.DataFrame({"confidence": [0.6, 0.9], "accuracy": accuracy, "rows": [100, 100]})
    chart = student.calibration_chart(bins)
    assert said in chart.finding
    assert chart.drawing.count("<circle") == 2
    error = np.abs(np.array(accuracy) - [0.6, 0.9]).mean()
    assert f"calibration error is {error:.3f}" in chart.finding


def test_training_is_said_with_its_lowest_loss() -> None:
    curve = pl.DataFrame({"step": [1, 5, 9], "loss": [2.0, None, 1.0], "validation_loss": [1.5, 0.5, 0.75]})
    chart = student.training_chart(curve)
    assert chart is not None
    assert chart.finding == "The validation loss went from 1.500 to 0.750 nats in 9 steps; lowest at step 5, 0.500"
    assert chart.table.rows[1] == ["5", "", "0.5000"]
    single = student.training_chart(curve.head(1))
    assert single is not None
    assert "<circle" in single.drawing
    assert student.training_chart(curve.head(0)) is None


def test_margins_and_weights() -> None:
    margins = np.array([0.05, 0.09, 0.5, 1.0])
    chart = corpus.margin_chart(margins)
    assert "2 of 4 have a margin below 0.1" in chart.finding
    assert sum(int(row[1]) for row in chart.table.rows) == 4
    weights = corpus.weight_chart(np.array([0.0, 1.0, 1.0, 2.0]))
    assert weights.finding.replace("\N{NO-BREAK SPACE}", " ") == (
        "The heavier half of the texts holds 75 % of the weight; 1 of 4 texts count nothing"
    )
    assert corpus.weight_chart(np.ones(3)).drawing.count("<rect") > 0


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_values_that_differ_by_rounding_alone_are_drawn(kind: type[np.floating]) -> None:
    alike = np.array([0.3, np.nextafter(kind(0.3), kind(1)), 0.3], dtype=kind)
    table = corpus.margin_chart(alike).table
    assert sum(int(count) for _, count in table.rows) == 3
    assert len({told for told, _ in table.rows}) == len(table.rows)


def test_words_that_the_corpus_itself_does_not_share_tell_nothing() -> None:
    drift = {"median_words_corpus": 2, "median_words_test": 2, "new_words_corpus": 0.9, "new_words_test": 0.99}
    assert "do not tell" in corpus.drift_chart(drift).finding


@pytest.mark.parametrize(("test", "expected"), [(0.081, "about as familiar"), (0.2, "many more new words")])
def test_words_of_the_test_set_are_called_new_only_where_they_are(test: float, expected: str) -> None:
    drift = {"median_words_corpus": 9, "median_words_test": 8, "new_words_corpus": 0.068, "new_words_test": test}
    chart = corpus.drift_chart(drift)
    assert expected in chart.finding
    assert chart.table.rows[1][2] == f"{100 * test:.1f}\N{NO-BREAK SPACE}%"
    assert f"Of 100 words in a test text, {100 * test:.0f} do not occur" in chart.note


def test_the_label_map_counts_what_is_shared() -> None:
    chart = label_chart({"a": ["one"], "b": ["one", "two"], "c": ["two"]}, ["one", "two"])
    assert chart.finding == "3 labels; 1 is known to more than one teacher: b"
    assert chart.table.rows[0] == ["b", "one, two"]
    assert label_chart({"a": ["one"]}, ["one"]).finding == "1 label; no label is known to more than one teacher"


def test_names_that_look_alike_are_found_and_others_are_not() -> None:
    labels = ["Refund", "refunds", "re_fund", "party", "parties", "part", "plane", "plan", "class", "classes", "!", "?"]
    assert near_names(labels) == [
        ("Refund", "refunds"),
        ("Refund", "re_fund"),
        ("refunds", "re_fund"),
        ("party", "parties"),
        ("class", "classes"),
    ]
    assert near_names(["cancel order", "Cancel-Orders"]) == [("cancel order", "Cancel-Orders")]


def test_a_table_writes_so_many_rows_into_the_page_and_says_how_many_more() -> None:
    table = Table(["n"], [[str(number)] for number in range(MOST_ROWS + 7)])
    assert len(table.shown) == MOST_ROWS
    assert table.left_out == 7
    assert (amount(1, "text"), amount(1200, "text")) == ("1 text", "1,200 texts")
