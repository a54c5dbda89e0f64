"""Stage `evaluate`: data/metrics.json, and the plots with the tables behind them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from muki_pipeline.errors import MukiError
from muki_pipeline.evaluation.evaluate import Evaluation, evaluate
from muki_pipeline.evaluation.measured_on import difference, inputs_now, write_record
from muki_pipeline.layout import Layout
from muki_pipeline.store.columns import spreadsheet_csv
from muki_pipeline.store.files import exists, make_folder, read_bytes, write_bytes, write_json
from muki_stages.options import PARAMS, ParamsFile
from muki_stages.prepared import open_prepared
from muki_stages.terminal import progress, quiet_libraries, say, warn


def main(params_file: ParamsFile = PARAMS) -> dict[str, Any]:
    """Measure the student, the routed teachers and the supervision wherever gold labels are known."""
    quiet_libraries()
    params, layout = open_prepared(params_file)
    inputs = inputs_now(params, layout)
    with progress() as bars:
        result = evaluate(params, layout, bars)
    if changed := difference(inputs, inputs_now(params, layout)):
        what = f"what was measured has changed meanwhile: {', '.join(changed)}"
        raise MukiError(what, where=str(layout.metrics), fix="Run muki-pipeline evaluate again")
    write(result, layout, inputs)
    if unknown := result.metrics.get("test_set", {}).get("rows_of_unknown_labels"):
        tested = result.metrics["test_set"]
        left_out = f"{unknown:,} of {tested['rows']:,} test texts are left out"
        warn(f"{left_out}, because no teacher knows their labels: {tested['unknown_labels']}")
    if foreign := result.metrics.get("test_set", {}).get("rows_measured_as_unknown"):
        named = result.metrics["test_set"]["labels_measured_as_unknown"]
        say(f"{foreign:,} test texts are measured as {params.integrate.unknown_label!r}, of these labels: {named}")
    if silent := result.metrics.get("test_set", {}).get("rows_not_asked_of_teachers"):
        what = f"{silent:,} test texts are not in some file of answers, or no teacher answers them"
        warn(f"{what}: routed teachers are measured without them")
    say(f"{layout.metrics}; muki-pipeline results shows it as a table")
    return dict(result.metrics)


def write(result: Evaluation, layout: Layout, inputs: Mapping[str, str]) -> None:
    """Write the figures, the tables behind the plots, and last what they are of: see `inputs_now`."""
    make_folder(layout.plots)
    written: list[Path] = [layout.metrics]
    for name, table in {"confusion": result.confusion, "reliability": result.reliability}.items():
        if not table.is_empty():
            written.append(layout.plots / f"{name}.csv")
            write_bytes(written[-1], spreadsheet_csv(table))
    if not result.uncertainty.is_empty():
        written.append(layout.plots / "uncertainty.csv")
        _draw(result.uncertainty, layout)
    write_json(layout.metrics, result.metrics)
    write_record(layout, inputs, written)


def _draw(uncertainty: pl.DataFrame, layout: Layout) -> None:
    """The figure and the table behind it, which is written last: beside this very table, the figure is of it."""
    figure, table = (layout.plots / f"uncertainty.{ending}" for ending in ("png", "csv"))
    content = spreadsheet_csv(uncertainty)
    if exists(figure) and exists(table) and read_bytes(table, "Run muki-pipeline evaluate") == content:
        return
    from muki_pipeline.reporting.figures import png, uncertainty_figure  # imports matplotlib, which takes a second

    write_bytes(figure, png(uncertainty_figure(uncertainty)))
    write_bytes(table, content)
