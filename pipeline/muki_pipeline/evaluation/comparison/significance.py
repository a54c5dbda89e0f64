"""Which rules of a comparison differ by more than chance."""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from muki_pipeline.evaluation import metrics
from muki_pipeline.evaluation.comparison.rules import SUPERVISED


def paired_tests(right: Mapping[str, NDArray[np.floating]]) -> pl.DataFrame:
    """Every pair of rules by the paired bootstrap over test texts.

    Args:
        right: For each rule `[texts]`, the share of seeds whose student is right.

    Returns:
        `rule`, `other`, `difference` of accuracy, `p_value`.
    """
    pairs = [
        (rule, other, *metrics.paired_bootstrap(right[rule], right[other])) for rule, other in combinations(right, 2)
    ]
    schema = {"rule": pl.String, "other": pl.String, "difference": pl.Float64, "p_value": pl.Float64}
    return pl.DataFrame(pairs, schema=schema, orient="row")


def best_rules(students: pl.DataFrame, tests: pl.DataFrame, level: float = 0.05) -> Sequence[str]:
    """The best rule without gold labels, and all rules that are not significantly worse.

    Args:
        students: `rule`, `accuracy`; a row per rule and seed.
        tests: See `paired_tests`.
        level: p-value from which two rules count as undecided.
    """
    means = students.filter(pl.col("rule") != SUPERVISED).group_by("rule").agg(pl.col("accuracy").mean())
    if means.is_empty():
        return []
    best: str = means.sort("accuracy", "rule", descending=[True, False])["rule"][0]
    pairs = tests.filter((pl.col("rule") == best) | (pl.col("other") == best)).filter(pl.col("p_value") >= level)
    undecided = {name for pair in pairs.select("rule", "other").iter_rows() for name in pair} - {best, SUPERVISED}
    return [best, *sorted(undecided)]
