"""The project that a command works on."""

import os
from pathlib import Path

from muki_pipeline import config
from muki_pipeline.config import Params
from muki_pipeline.layout import Layout
from muki_pipeline.setup import dvc


def open_project(params_file: Path) -> tuple[Params, Layout]:
    """Settings and tables of a project. Under DVC its dvc.yaml must list all that the settings name.

    Raises:
        MukiError: See `config.load` and `dvc.check`.
    """
    params, layout = config.load(params_file)
    if "DVC_STAGE" in os.environ:  # DVC sets it for the stage that it runs
        dvc.check(params, layout)
    return params, layout
