import polars as pl

from muki_pipeline.evaluation.comparison.rules import SUPERVISED
from muki_pipeline.evaluation.comparison.significance import best_rules


def test_the_undecided_are_the_best_and_what_no_test_tells_from_it() -> None:
    students = pl.DataFrame({"rule": ["a", "a", "b", "c", SUPERVISED], "accuracy": [0.7, 0.9, 0.79, 0.5, 0.99]})
    tests = pl.DataFrame(
        {
            "rule": ["a", "a", "b", "a"],
            "other": ["b", "c", "c", SUPERVISED],
            "difference": [0.01, 0.3, 0.29, -0.19],
            "p_value": [0.6, 0.001, 0.001, 0.3],
        }
    )
    assert best_rules(students, tests) == ["a", "b"]
