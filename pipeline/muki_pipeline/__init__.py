"""Knowledge integration of text classifiers by model uncertainty (MUKI, arXiv:2210.05230).

`from muki_pipeline import merge` is all that most programs need. Nothing heavy is loaded before a name is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from muki_pipeline.api import Project as Project
    from muki_pipeline.api import Student as Student
    from muki_pipeline.api import merge as merge
    from muki_pipeline.errors import MukiError as MukiError
    from muki_pipeline.routing.router import Router as Router

_HOMES = {"Project": "api", "Student": "api", "merge": "api", "MukiError": "errors", "Router": "routing.router"}
__all__ = ["MukiError", "Project", "Router", "Student", "merge"]


def __getattr__(name: str) -> Any:
    """A name of `__all__`, from the module that it lives in."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
