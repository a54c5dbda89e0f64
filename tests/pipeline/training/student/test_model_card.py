"""The card of a student whose labels and texts look like Markdown, HTML and templates."""

from typing import Any

import pytest

from muki_pipeline.config import StudentSettings
from muki_pipeline.training.student.model_card import model_card

LABEL, TEXT = "<b>{{ 7 * 7 }}</b> & 'q'", "one\n\n# head   {% raw %} <i>" + "y" * 300
FACTS: dict[str, Any] = {
    "labels": [LABEL, "oak"],
    "teachers": {"trees": {"digest": "0123456789abcdef" * 4, "labels": [LABEL, "oak"]}},
    "rows": 1_234_567,
    "corpus_digest": "c" * 64,
    "label_settings": {"passes": 8},
    "integrate": {"aliases": {"trees": {"elm": LABEL}}},
}


def card(examples: dict[str, str], **facts: Any) -> list[str]:
    losses = {"loss": 0.12345, "validation_loss": 2.0}
    return model_card(StudentSettings(model="m", max_length=77), FACTS | facts, losses, examples).split("\n")


def test_labels_and_texts_stand_as_they_are() -> None:
    lines = card({TEXT: LABEL})
    assert f"| trees | `0123456789abcdef` | {LABEL}, oak |" in lines
    quoted = lines.index("> " + f"one # head {{% raw %}} <i>{'y' * 300}"[:200])
    assert lines[quoted - 2 : quoted + 4 : 2] == ["## Examples", "> " + lines[quoted][2:], LABEL]


def test_figures_and_settings() -> None:
    lines = card({})
    assert lines[lines.index("| loss | 0.1235 |") + 1] == "| validation loss | 2.0000 |"
    assert f"Corpus: 1,234,567 texts, digest `{'c' * 16}`." in lines
    assert '  "max_length": 77,' in lines
    assert "## Examples" not in lines


@pytest.mark.parametrize(
    ("routing", "sentence"),
    [
        (None, "The rule that chose among the teachers gives no"),
        ({"mean_posterior": 0.876}, "a probability of 0.88 of"),
    ],
)
def test_what_the_rule_believes(routing: dict[str, float] | None, sentence: str) -> None:
    assert sentence in "\n".join(card({}, routing=routing))
