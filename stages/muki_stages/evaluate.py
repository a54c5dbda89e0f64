"""Stage `evaluate`: data/metrics.json, and the plots with the tables behind them."""

from typing import Any

from muki_pipeline.evaluation.evaluate import Evaluation, evaluate
from muki_pipeline.layout import Layout
from muki_pipeline.reporting.figures import png, uncertainty_figure
from muki_pipeline.store.columns import spreadsheet_csv
from muki_pipeline.store.files import make_folder, write_bytes, write_json
from muki_stages.options import PARAMS, ParamsFile
from muki_stages.project import open_project
from muki_stages.terminal import progress, quiet_libraries, say, warn


def main(params_file: ParamsFile = PARAMS) -> dict[str, Any]:
    """Measure the student, the routed teachers and the supervision wherever gold labels are known."""
    quiet_libraries()
    params, layout = open_project(params_file)
    with progress() as bars:
        result = evaluate(params, layout, bars)
    _write(result, layout)
    if unknown := result.metrics.get("test_set", {}).get("rows_of_unknown_labels"):
        tested = result.metrics["test_set"]
        left_out = f"{unknown:,} of {tested['rows']:,} test texts are left out"
        warn(f"warning: {left_out}, because no teacher knows their labels: {tested['unknown_labels']}")
    say(f"{layout.metrics}; muki-pipeline results shows it as a table")
    return dict(result.metrics)


def _write(result: Evaluation, layout: Layout) -> None:
    make_folder(layout.plots)
    tables = {"confusion": result.confusion, "reliability": result.reliability, "uncertainty": result.uncertainty}
    for name, table in tables.items():
        if not table.is_empty():
            write_bytes(layout.plots / f"{name}.csv", spreadsheet_csv(table))
    if not result.uncertainty.is_empty():
        write_bytes(layout.plots / "uncertainty.png", png(uncertainty_figure(result.uncertainty)))
    write_json(layout.metrics, result.metrics)
