"""Stage `compare`: a student per rule and seed from the stored labels, as a table."""

from contextlib import ExitStack
from pathlib import Path

import polars as pl
from rich import box
from rich.console import Console
from rich.table import Table

from pipeline import config, store
from pipeline.comparison import Comparison, compare, undecided
from pipeline.training import Watch
from stages.show import progress, quiet_libraries, say, training

SUPERVISION = {
    "supervision_accuracy": "target right",
    "teacher_selection": "right teacher",
    "kl_to_gold": "KL to gold",
}
STUDENT = {"macro_f1": "macro-F1", "expected_calibration_error": "calibration error", "seconds": "seconds"}
DIGITS = {"seconds": 0}


def main(params_file: Path) -> None:
    """Run the stage."""
    quiet_libraries()
    params, layout = config.load(params_file)
    with progress("texts") as begin, ExitStack() as bars:

        def watch(name: str) -> Watch:
            bars.close()  # the bar of the student before
            say(f"student of {name}")
            return bars.enter_context(training(name))

        found = compare(params, layout, begin, watch)
    for path, frame in ((layout.comparison, found.students), (layout.comparison_tests, found.tests)):
        store.write_shard(path, frame.to_arrow(compat_level=pl.CompatLevel.oldest()), "")
    show(found)
    say(f"{layout.comparison}, {layout.comparison_tests}")


def show(found: Comparison) -> None:
    """The comparison as tables, best accuracy first."""
    near = undecided(found.students, found.tests)
    blocks = {name: name.removeprefix("accuracy_") for name in found.students.columns if name.startswith("accuracy_")}
    measures = {**SUPERVISION, **STUDENT, **blocks}
    means = found.students.group_by("rule").agg(
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
            name = f"{row['rule']} ≈" if row["rule"] in near[1:] else row["rule"]
            spread = "" if row["deviation"] is None else f" ± {row['deviation']:.3f}"
            cells = ["" if row[each] is None else f"{row[each]:.{DIGITS.get(each, 3)}f}" for each in shown]
            style = "bold" if row["rule"] == near[0] else ""
            table.add_row(name, f"{row['accuracy']:.3f}{spread}", *cells, style=style)
        console.print(table)
    console.print("Mean and standard deviation over seeds, on the test set. Bold: the best without gold labels.")
    console.print("≈: the paired bootstrap over test texts does not tell it from the best at 5 %.")
