"""Stage `compare`: a student per rule and seed from the stored labels, as tables."""

from typing import Any

import polars as pl
from rich import box
from rich.console import Console
from rich.table import Table

from muki_pipeline import config
from muki_pipeline.evaluation.comparison.compare import Comparison, compare
from muki_pipeline.evaluation.comparison.significance import best_rules
from muki_pipeline.store.columns import arrow
from muki_pipeline.store.table import write_table_file
from muki_stages import terminal
from muki_stages.options import PARAMS, ParamsFile
from muki_stages.terminal import progress, quiet_libraries, say

SUPERVISION = {
    "supervision_accuracy": "target right",
    "teacher_selection": "right teacher",
    "kl_to_gold": "KL to gold",
}
STUDENT = {"macro_f1": "macro-F1", "expected_calibration_error": "calibration error", "seconds": "seconds"}
DIGITS = {"seconds": 0}


def main(params_file: ParamsFile = PARAMS) -> dict[str, Any]:
    """Train a student for every rule and seed from the stored labels, and show which rule is best."""
    quiet_libraries()
    params, layout = config.load(params_file)
    with progress() as bars:
        comparison = compare(params, layout, bars)
    write_table_file(layout.comparison, arrow(comparison.students))
    write_table_file(layout.comparison_tests, arrow(comparison.tests))
    if not terminal.wants_json():
        show(comparison)
    say(f"{layout.comparison}, {layout.comparison_tests}")
    return {"students": comparison.students.to_dicts(), "tests": comparison.tests.to_dicts()}


def show(comparison: Comparison) -> None:
    """The comparison as tables, best accuracy first."""
    students = comparison.students
    best = best_rules(students, comparison.tests)
    blocks = {name: name.removeprefix("accuracy_") for name in students.columns if name.startswith("accuracy_")}
    measures = {**SUPERVISION, **STUDENT, **blocks}
    means = students.group_by("rule").agg(
        pl.col("accuracy", *measures).mean(), pl.col("accuracy").std().alias("deviation")
    )
    rows = means.sort("accuracy", descending=True).to_dicts()
    console = Console()
    headings = {"the supervision": SUPERVISION, "the student": STUDENT, "the student on labels of": blocks}
    for title, shown in headings.items():
        table = Table(title=f"Rules: {title}", box=box.SIMPLE)
        for heading in ("rule", "accuracy", *shown.values()):
            table.add_column(heading, justify="left" if heading == "rule" else "right", no_wrap=heading != "rule")
        for row in rows:
            name = f"{row['rule']} ≈" if row["rule"] in best[1:] else row["rule"]
            spread = "" if row["deviation"] is None else f" ± {row['deviation']:.3f}"
            cells = ["" if row[column] is None else f"{row[column]:.{DIGITS.get(column, 3)}f}" for column in shown]
            style = "bold" if row["rule"] in best[:1] else ""
            table.add_row(name, f"{row['accuracy']:.3f}{spread}", *cells, style=style)
        terminal.show(table)
    console.print("Mean and standard deviation over seeds, on the test set. Bold: the best without gold labels.")
    console.print("≈: not significantly worse than the best (paired bootstrap over test texts, 5 % level).")
