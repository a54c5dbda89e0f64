"""The README.md of a student: what it knows, from which teachers and texts, and how it was trained."""

import json
from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from muki_pipeline.config import NEED_SCORES, StudentSettings

_PAGES = Environment(  # Markdown: labels and texts stand as they are, and are never read as a template
    loader=PackageLoader("muki_pipeline.training.student", ""),
    autoescape=False,
    trim_blocks=True,
    keep_trailing_newline=True,
    undefined=StrictUndefined,
)
_PAGES.filters["cell"] = lambda text: " ".join(text.split()).replace("|", "\\|")
_TEMPLATE = _PAGES.get_template("model_card.jinja")


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
    has_networks = not all(map(_is_file, facts["teachers"].values()))
    used = ("label_settings", "integrate") if has_networks else ("integrate",)
    shown = {key: facts[key] for key in used} | {"student": settings.model_dump()}
    return _TEMPLATE.render(
        facts=facts,
        chosen_by=_chosen_by(facts["integrate"]),
        asked={name: _asked(teacher, facts["label_settings"]) for name, teacher in facts["teachers"].items()},
        audit=(facts.get("routing") or {}).get("audit"),
        starved=(facts.get("routing") or {}).get("starved", ()),
        losses=losses,
        examples=examples,
        max_length=settings.max_length,
        settings=json.dumps(shown, indent=1),
    )


def _chosen_by(settings: Mapping[str, Any]) -> str:
    """What made the targets; those that no rule made have their name for a strategy."""
    strategy = settings["strategy"]
    if strategy in NEED_SCORES:
        return f"the scorer `{settings['scorer']}` told which teacher to trust on which text (strategy `{strategy}`)"
    return f"the targets are those of `{strategy}`, which reads no scores of teachers"


def _is_file(teacher: Mapping[str, Any]) -> bool:
    """Whether a teacher is a file of answers, see `LabelledCorpus.teacher_facts`."""
    return "gives" in teacher


def _asked(teacher: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """How a teacher's answers came about."""
    if not _is_file(teacher):
        return f"{settings['passes']} dropout passes"
    return "a file of answers, several samples of each text" if "samples" in teacher["gives"] else "a file of answers"
