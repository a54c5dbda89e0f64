"""Command `sweep`: delete data in the bucket that nothing names."""

from datetime import timedelta
from pathlib import Path
from typing import Any

from muki_pipeline import config
from muki_stages.terminal import say


def main(params_file: Path, hours: float) -> dict[str, Any]:
    """Run the command."""
    params, layout = config.load(params_file)
    deleted, size = layout.store(layout.work).sweep(timedelta(hours=hours))
    say(f"{params.store}: {deleted:,} objects deleted, {size:,} bytes")
    return {"deleted": deleted, "bytes": size}
