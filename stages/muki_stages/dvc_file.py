"""Command `dvc`: dvc.yaml from params.yaml."""

from typing import Annotated, Any

import typer

from muki_pipeline import config
from muki_pipeline.errors import MukiError
from muki_pipeline.setup import dvc
from muki_stages.options import PARAMS, ParamsFile
from muki_stages.terminal import say


def main(
    params_file: ParamsFile = PARAMS,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a dvc.yaml of your own.")] = False,
) -> dict[str, Any]:
    """Write dvc.yaml from params.yaml: what stages read. Run it after adding or removing a file, teacher or key."""
    if params_file.name != PARAMS.name:
        what = f"DVC's stages read {PARAMS}, not this file"
        raise MukiError(what, where=str(params_file), fix=f"Call it {PARAMS}, in a folder of its own")
    params, layout = config.load(params_file)
    path = dvc.write(params, layout, force=force)
    stages = list(dvc.stages(params, layout))
    say(f"wrote {path}: {len(stages)} stages")
    return {"file": str(path), "stages": stages}
