"""Command `sweep`: delete data in the bucket that nothing names."""

from datetime import timedelta
from pathlib import Path
from typing import Any

from muki_pipeline import config
from muki_pipeline.errors import MukiError
from muki_pipeline.tables.bucket import Bucket
from muki_stages.terminal import say


def main(params_file: Path, hours: float) -> dict[str, Any]:
    """Run the command."""
    params, _ = config.load(params_file)
    if params.store is None:
        raise MukiError("names no bucket", where=f"{params_file}, store", fix="There is nothing to sweep without one")
    deleted, size = Bucket(params.store).sweep(timedelta(hours=hours))
    say(f"{params.store}: {deleted:,} objects deleted, {size:,} bytes")
    return {"deleted": deleted, "bytes": size}
