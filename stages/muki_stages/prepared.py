"""The project, for commands that read what `prepare` wrote."""

import os
from pathlib import Path

from muki_pipeline.config import Params
from muki_pipeline.corpus.prepared import changed_sources
from muki_pipeline.layout import MAKE_CORPUS, Layout
from muki_stages.project import open_project
from muki_stages.terminal import warn


def open_prepared(params_file: Path) -> tuple[Params, Layout]:
    """The project, with a warning of each source that has changed since the corpus was made. DVC sees that itself.

    Raises:
        MukiError: See `open_project` and `changed_sources`.
    """
    params, layout = open_project(params_file)
    if "DVC_STAGE" not in os.environ:
        for name in changed_sources(params.prepare, layout):
            warn(f"{name} has changed, or is new or gone, since the corpus was made. {MAKE_CORPUS} to read it again")
    return params, layout
