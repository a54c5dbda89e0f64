"""Stage `compare`: a student per rule and seed from the stored labels, as tables."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import polars as pl
from rich.text import Text

from muki_pipeline import config
from muki_pipeline.evaluation.comparison.compare import Comparison, compare
from muki_pipeline.evaluation.comparison.significance import best_rules
from muki_pipeline.evaluation.measured_on import comparison_inputs
from muki_pipeline.store.columns import arrow
from muki_pipeline.store.table import write_table_file
from muki_stages import terminal
from muki_stages.options import PARAMS, ParamsFile
from muki_stages.terminal import FIRST, figure, progress, quiet_libraries, say, tell, warn

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
    inputs = comparison_inputs(params, layout)
    if (left_out := params.integrate.unknown_label) is not None:
        warn(f"the label {left_out} (integrate.unknown_label) is left out: the rules differ in how they mix teachers")
    with progress() as bars:
        comparison = compare(params, layout, bars)
    write_table_file(layout.comparison_tests, arrow(comparison.tests))
    write_table_file(layout.comparison, arrow(comparison.students), {"inputs": inputs})  # vouches for both
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
    headings = {"the supervision": SUPERVISION, "the student": STUDENT, "the student on labels of": blocks}
    for title, shown in headings.items():
        terminal.show(
            f"Rules: {title}", ["rule", "accuracy", *shown.values()], [_cells(row, shown, best) for row in rows]
        )
    tell(Text("Mean and standard deviation over seeds, on the test set. Bold: the best without gold labels."))
    tell(Text("≈: not significantly worse than the best (paired bootstrap over test texts, 5 % level)."))


def _cells(row: Mapping[str, Any], shown: Iterable[str], best: Sequence[str]) -> list[Text]:
    name = f"{row['rule']} ≈" if row["rule"] in best[1:] else row["rule"]
    spread = "" if row["deviation"] is None else f" ± {figure(row['deviation'])}"
    cells = [figure(row[column], DIGITS.get(column, 3)) for column in shown]
    style = FIRST if row["rule"] in best[:1] else ""
    return [Text(cell, style) for cell in (name, f"{figure(row['accuracy'])}{spread}", *cells)]
