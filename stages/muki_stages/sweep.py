"""Command `sweep`: delete data in the bucket that nothing names."""

from datetime import timedelta
from typing import Annotated, Any

import typer

from muki_pipeline import config
from muki_stages.options import PARAMS, ParamsFile
from muki_stages.terminal import say


def main(
    params_file: ParamsFile = PARAMS,
    hours: Annotated[float, typer.Option("--hours", min=0, help="Keep what is younger than this.")] = 24,
) -> dict[str, Any]:
    """Delete what killed runs left in the bucket that params.yaml names as store."""
    params, layout = config.load(params_file)
    deleted, size = layout.store(layout.work).sweep(timedelta(hours=hours))
    say(f"{params.store}: {deleted:,} objects deleted, {size:,} bytes")
    return {"deleted": deleted, "bytes": size}
