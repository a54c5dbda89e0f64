"""What the page is made of."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from muki_pipeline import config
from muki_pipeline.evaluation.measured_on import comparison_inputs
from muki_pipeline.layout import Layout
from muki_pipeline.reporting.report import provenance
from muki_pipeline.store import schema
from muki_pipeline.store.columns import arrow, fixed_size_lists
from muki_pipeline.store.folder import FolderStore
from muki_pipeline.store.table import publish, write_table_file
from tests import tiny

KNOWN = {"Refund": ["one"], "refunds": ["two"], "goal": ["one"], "score": ["two"], "match": ["one"]}
VECTORS = np.array([[1, 0, 0], [1, 0.1, 0], [0, 1, 0], [0, 1, 0.3], [0, 1, 0.1]], dtype=np.float32)


def save_names(layout: Layout, labels: list[str]) -> None:
    columns = {"label": pa.array(labels, pa.string()), "embedding": fixed_size_lists(VECTORS)}
    table = schema.arrow_table(schema.LABEL_NAMES, columns, size=3)
    publish(layout.label_names, [FolderStore(layout.work / "names").finish("0" * 64, table, {})], {})


def test_labels_that_may_be_one_are_named_with_the_reason(tmp_path: Path) -> None:
    save_names(Layout(tmp_path), list(KNOWN))
    found = provenance.near_table(Layout(tmp_path), KNOWN)
    assert found is not None
    assert found.rows == [
        ["Refund (one)", "refunds (two)", "written nearly alike"],
        ["score (two)", "match (one)", "near in meaning, cosine 0.98"],
        ["goal (one)", "score (two)", "near in meaning, cosine 0.96"],
    ], "two labels of one teacher are two labels"
    alike = {"Refund": ["one"], "refunds": ["one"], "goal": ["one"], "score": ["two"], "match": ["two"]}
    save_names(Layout(tmp_path / "alike"), list(alike))
    found = provenance.near_table(Layout(tmp_path / "alike"), alike)
    assert found is not None
    assert "written nearly alike" not in [row[2] for row in found.rows]


def test_embeddings_of_other_labels_tell_nothing(tmp_path: Path) -> None:
    save_names(Layout(tmp_path), ["a", "b", "c", "d", "e"])
    assert provenance.near_table(Layout(tmp_path), {"goal": ["one"], "score": ["two"]}) is None
    assert provenance.near_table(Layout(tmp_path / "none"), {"goal": ["one"], "score": ["two"]}) is None


@pytest.mark.parametrize(("p_value", "alike"), [(0.9, "; 1 is not significantly worse"), (0.01, "")])
def test_the_best_rule_is_named(tmp_path: Path, p_value: float, alike: str) -> None:
    params, layout = config.load(tiny.save_project(tmp_path))
    assert provenance.comparison(params, layout) is None
    measures = ("macro_f1", "expected_calibration_error", "supervision_accuracy", "teacher_selection", "kl_to_gold")
    students = pl.DataFrame({"rule": ["muki", "gate", "gate"], "accuracy": [0.7, 0.75, 0.85]}).with_columns(
        pl.lit(0.5).alias(name) for name in measures
    )
    layout.comparison.parent.mkdir(parents=True, exist_ok=True)
    write_table_file(layout.comparison, arrow(students), {"inputs": comparison_inputs(params, layout)})
    tests = pl.DataFrame({"rule": ["gate"], "other": ["muki"], "p_value": [p_value]})
    write_table_file(layout.comparison_tests, arrow(tests))
    found = provenance.comparison(params, layout)
    assert found is not None
    finding, table = found
    assert table is not None
    assert finding == f"gate is the best rule without gold labels{alike}"
    assert table.rows[table.best][:2] == ["gate", "0.800 ± 0.071"]


@pytest.mark.parametrize(
    ("block", "values", "changed"),
    [
        ("integrate", {"aliases": {"one": {"plum": "prune"}}}, "settings"),
        ("student", {"epochs": 3}, "settings"),
        ("integrate", {"scorer": "entropy", "reweight": "none"}, ""),
        ("compare", {"seeds": [7]}, ""),
        ("version", {}, "settings"),
        (None, {}, "test set"),
    ],
)
def test_a_comparison_of_something_else_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: str | None, values: dict[str, Any], changed: str
) -> None:
    path = tiny.save_project(tmp_path)
    params, layout = config.load(path)
    layout.gold.mkdir(parents=True)
    layout.test.write_bytes(b"one")
    measures = ("accuracy", "macro_f1", "expected_calibration_error", "supervision_accuracy", "teacher_selection")
    students = pl.DataFrame({"rule": ["gate"], **dict.fromkeys((*measures, "kl_to_gold"), 0.5)})
    write_table_file(layout.comparison, arrow(students), {"inputs": comparison_inputs(params, layout)})
    tests = pl.DataFrame(schema={"rule": pl.String, "other": pl.String, "p_value": pl.Float64})
    write_table_file(layout.comparison_tests, arrow(tests))
    if block is None:
        layout.test.write_bytes(b"another")
    elif block == "version":
        monkeypatch.setattr(schema, "STUDENT_VERSION", schema.STUDENT_VERSION + 1)
    else:
        tiny.change(path, block, **values)
    found = provenance.comparison(*config.load(path))
    assert found is not None
    assert (found[1] is None) == bool(changed)
    assert f"({changed})" in found[0] if changed else "best rule" in found[0]
