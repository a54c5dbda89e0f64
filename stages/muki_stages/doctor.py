"""Command `doctor`: a dry run."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from muki_pipeline import config
from muki_pipeline.setup.doctor import diagnose
from muki_stages.options import PARAMS, ParamsFile
from muki_stages.terminal import finding, quiet_libraries, say

_CODES = {"ok": 0, "warning": 1, "error": 2}


def main(params_file: ParamsFile = PARAMS) -> dict[str, Any]:
    """Try everything on a few texts and estimate the cost: exit code 0, 1 after warnings, 2 after errors."""
    quiet_libraries()
    params, layout = config.load(params_file)
    found = []
    for each in diagnose(params, layout):
        found.append(each)
        line = f"{each.where}: {each.what}."
        finding(each.level, f"{line} {each.fix}." if each.fix else line)
    say(_counted([each.level for each in found]))
    return {"exit_code": max(_CODES[each.level] for each in found), "findings": [asdict(each) for each in found]}


def _counted(levels: Sequence[str]) -> str:
    """How many findings there are of each kind, the worst first."""
    counts = Counter(levels)
    plural = {"error": "errors", "warning": "warnings", "ok": "ok"}
    return ", ".join(
        f"{counts[level]} {level if counts[level] == 1 else many}" for level, many in plural.items() if counts[level]
    )
