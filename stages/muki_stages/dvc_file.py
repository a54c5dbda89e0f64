"""Command `dvc`: dvc.yaml from params.yaml."""

from pathlib import Path
from typing import Any

from muki_pipeline import config
from muki_pipeline.setup import dvc
from muki_stages.terminal import say


def main(params_file: Path, force: bool) -> dict[str, Any]:
    """Run the command."""
    params, layout = config.load(params_file)
    path = dvc.write(params, layout, force=force)
    stages = list(dvc.stages(params, layout))
    say(f"wrote {path}: {len(stages)} stages")
    return {"file": str(path), "stages": stages}
