"""Stage `compare`: a student per rule and seed from the stored labels, as a table."""

from contextlib import ExitStack
from pathlib import Path

import polars as pl
from rich.console import Console
from rich.table import Table

from pipeline import config, store
from pipeline.comparison import Comparison, compare, undecided
from pipeline.training import Watch
from stages.show import progress, quiet_libraries, say, training

MEASURES = {
    "accuracy": "accuracy",
    "macro_f1": "macro-F1",
    "expected_calibration_error": "calibration error",
    "supervision_accuracy": "target right",
    "teacher_selection": "right teacher",
    "kl_to_gold": "KL to gold",
    "seconds": "seconds",
}


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
    """The comparison as a table, best accuracy first."""
    near = undecided(found.students, found.tests)
    table = Table(title="Rules, mean and standard deviation over seeds")
    table.add_column("rule", no_wrap=True)
    blocks = [name for name in found.students.columns if name.startswith("accuracy_")]
    for heading in [*MEASURES.values(), *(name.removeprefix("accuracy_") for name in blocks)]:
        table.add_column(heading, justify="right")
    means = found.students.group_by("rule").agg(
        pl.col(*MEASURES, *blocks).mean(), pl.col("accuracy").std().alias("deviation")
    )
    for row in means.sort("accuracy", descending=True).iter_rows(named=True):
        style = "bold" if row["rule"] == near[0] else ""
        name = f"{row['rule']} ≈" if row["rule"] in near[1:] else row["rule"]
        cells = [
            "" if row[each] is None else f"{row[each]:.0f}" if each == "seconds" else f"{row[each]:.3f}"
            for each in [*MEASURES, *blocks]
        ]
        if row["deviation"] is not None:
            cells[0] += f" ± {row['deviation']:.3f}"
        table.add_row(name, *cells, style=style)
    table.caption = "Bold: the best without gold labels. ≈: the paired test does not tell it from the best at 5 %."
    Console().print(table)
