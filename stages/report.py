"""Command `report`: data/report.html."""

from pathlib import Path

from pipeline import config
from pipeline.reporting.html import write_report
from stages.terminal import say


def main(params_file: Path) -> None:
    """Run the command."""
    params, layout = config.load(params_file)
    write_report(params, layout)
    say(f"{layout.report}")
