"""Command `doctor`: a dry run."""

from dataclasses import asdict
from typing import Any

from muki_pipeline import config
from muki_pipeline.setup.doctor import diagnose
from muki_stages.options import PARAMS, ParamsFile
from muki_stages.terminal import STDERR, plain, quiet_libraries

_STYLES = {"ok": "green", "warning": "yellow", "error": "red"}
_CODES = {"ok": 0, "warning": 1, "error": 2}


def main(params_file: ParamsFile = PARAMS) -> dict[str, Any]:
    """Try everything on a few texts and estimate the cost: exit code 0, 1 after warnings, 2 after errors."""
    quiet_libraries()
    params, layout = config.load(params_file)
    found = []
    for finding in diagnose(params, layout):
        found.append(finding)
        line = f"{finding.where}: {finding.what}."
        STDERR.print(f"{finding.level:>7}", style=_STYLES[finding.level], end="  ")
        STDERR.print(plain(f"{line} {finding.fix}." if finding.fix else line), soft_wrap=True, highlight=False)
    return {"exit_code": max(_CODES[each.level] for each in found), "findings": [asdict(each) for each in found]}
