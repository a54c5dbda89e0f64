"""The figures that the report and `muki-pipeline results` share."""

import json
from pathlib import Path

from muki_pipeline.reporting import results
from muki_pipeline.routing.scorers import SCORERS

MEASURED = {
    "corpus": {"rows": 9, "rows_of_known_labels": 8, "entropy": {"target_accuracy": 0.5}},
    "student": {"rows": 1200, "accuracy": 0.75},
    "teachers": {"one": {"rows": 600, "own_block_accuracy": 0.8, "student_accuracy_on_these": 0.7}},
}


def test_what_is_absent_is_left_out() -> None:
    assert results.test_set(MEASURED) == [("student, all labels", "0.750", "1,200")]
    assert results.by_teacher(MEASURED)[1] == [["one", "600", "0.800", "0.700"]]
    assert results.by_teacher({}) == (["labels of"], [])


def test_a_scorer_without_figures_is_shown_as_not_measured() -> None:
    headings, rows = results.by_scorer(MEASURED)
    assert headings == ["scorer", "target right"]
    assert rows == [[name, "0.500" if name == "entropy" else results.NOT_MEASURED] for name in SCORERS]


def test_the_demo_has_every_figure_of_its_test_set() -> None:
    demo = json.loads((Path(__file__).parents[3] / "data" / "metrics.json").read_text())
    of_unknown = {"student.unknown_found", "student.known_called_unknown", "student.accuracy_of_known"}
    expected = [figure.title for figure in results.TEST_SET if figure.key not in of_unknown]
    assert [title for title, _, _ in results.test_set(demo)] == expected
