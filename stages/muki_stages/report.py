"""Command `report`: data/report.html."""

from typing import Any

from muki_pipeline import config
from muki_pipeline.reporting.report.page import write_report
from muki_stages.options import PARAMS, ParamsFile
from muki_stages.terminal import say


def main(params_file: ParamsFile = PARAMS) -> dict[str, Any]:
    """Write data/report.html, the results on one page."""
    params, layout = config.load(params_file)
    write_report(params, layout)
    say(f"{layout.report}")
    return {"file": str(layout.report)}
