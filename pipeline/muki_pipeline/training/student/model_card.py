"""The README.md of a student: what it knows, from which teachers and texts, and how it was trained."""

import json
from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from muki_pipeline.config import StudentSettings

_TEMPLATE = Environment(  # Markdown: labels and texts stand as they are, and are never read as a template
    loader=PackageLoader("muki_pipeline.training.student", ""),
    autoescape=False,
    trim_blocks=True,
    keep_trailing_newline=True,
    undefined=StrictUndefined,
).get_template("model_card.jinja")


def model_card(
    settings: StudentSettings, facts: Mapping[str, Any], losses: Mapping[str, float], examples: Mapping[str, str]
) -> str:
    """The card's text.

    Args:
        settings: The student's training.
        facts: The golden table's manifest.
        losses: `loss` and `validation_loss` at the end of the training, nats.
        examples: Texts of the corpus that may be quoted, and the label that each was taught.
    """
    shown = {key: facts[key] for key in ("label_settings", "integrate")} | {"student": settings.model_dump()}
    return _TEMPLATE.render(
        facts=facts,
        audit=(facts.get("routing") or {}).get("audit"),
        starved=(facts.get("routing") or {}).get("starved", ()),
        losses=losses,
        examples=examples,
        max_length=settings.max_length,
        settings=json.dumps(shown, indent=1),
    )
