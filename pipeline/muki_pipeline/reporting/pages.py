"""What the pages share that this package writes: their templates, and data that scripts in them read."""

import json
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

TEMPLATES = Environment(
    loader=PackageLoader("muki_pipeline.reporting", ""),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
"""The templates of `reporting/`, named by their path below it; every value is escaped."""


def as_json(content: Any) -> str:
    """Content for a `<script type="application/json">`: no text of it can end the element, or begin a comment in it."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
