"""Command `doctor`: a dry run."""

import sys
from pathlib import Path

from pipeline import config
from pipeline.setup.doctor import diagnose
from stages.terminal import STDERR, plain, quiet_libraries

_STYLES = {"ok": "green", "warning": "yellow", "error": "red"}
_CODES = {"ok": 0, "warning": 1, "error": 2}


def main(params_file: Path) -> None:
    """Run the command; its exit code is 0, 1 after warnings, and 2 after errors."""
    quiet_libraries()
    params, layout = config.load(params_file)
    worst = 0
    for finding in diagnose(params, layout):
        line = f"{finding.where}: {finding.what}."
        STDERR.print(f"{finding.level:>7}", style=_STYLES[finding.level], end="  ")
        STDERR.print(plain(f"{line} {finding.fix}." if finding.fix else line), soft_wrap=True, highlight=False)
        worst = max(worst, _CODES[finding.level])
    sys.exit(worst)
