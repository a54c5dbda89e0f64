"""Command `report`: data/report.html."""

from pathlib import Path
from typing import Any

from muki_pipeline import config
from muki_pipeline.reporting.html import write_report
from muki_stages.terminal import say


def main(params_file: Path) -> dict[str, Any]:
    """Run the command."""
    params, layout = config.load(params_file)
    write_report(params, layout)
    say(f"{layout.report}")
    return {"file": str(layout.report)}
