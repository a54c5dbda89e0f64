"""The card of a student whose labels and texts look like Markdown, HTML and templates."""

from typing import Any

import pytest

from muki_pipeline.config import StudentSettings
from muki_pipeline.training.student.model_card import model_card

LABEL, TEXT = "<b>{{ 7 * 7 }}</b> & 'q'", "one\n\n# head   {% raw %} <i>" + "y" * 300
RULE = {"strategy": "posterior", "scorer": "gate"}
FACTS: dict[str, Any] = {
    "labels": [LABEL, "oak"],
    "teachers": {"trees": {"digest": "0123456789abcdef" * 4, "labels": [LABEL, "oak"]}},
    "rows": 1_234_567,
    "abstained": 567,
    "corpus_digest": "c" * 64,
    "label_settings": {"passes": 8},
    "integrate": RULE | {"aliases": {"trees": {"elm": LABEL}}},
}

SEVERAL = {name: {"digest": "0" * 64, "labels": [name, "oak"]} for name in ("one", "two")}


def card(examples: dict[str, str], **facts: Any) -> list[str]:
    losses = {"loss": 0.12345, "validation_loss": 2.0}
    return model_card(StudentSettings(model="m", max_length=77), FACTS | facts, losses, examples).split("\n")


def test_labels_and_texts_stand_as_they_are() -> None:
    lines = card({TEXT: LABEL})
    assert f"| trees | `0123456789abcdef` | 8 dropout passes | {LABEL}, oak |" in lines
    quoted = lines.index("> " + f"one # head {{% raw %}} <i>{'y' * 300}"[:200])
    assert lines[quoted - 2 : quoted + 4 : 2] == ["## Examples", "> " + lines[quoted][2:], LABEL]


def test_a_label_stays_in_its_cell() -> None:
    starved = {"label": "a|b", "answered": 9, "taught": 2, "rival": "one\nline", "taken": 3}
    teachers = {"trees": {"digest": "0" * 64, "labels": ["a|b", "oak"]}}
    lines = card({}, teachers=teachers, routing={"estimate": None, "audit": None, "starved": [starved]})
    assert "| trees | `0000000000000000` | 8 dropout passes | a\\|b, oak |" in lines
    assert "| a\\|b | 9 | 2 | 3 | one line |" in lines


def test_figures_and_settings() -> None:
    lines = card({})
    assert lines[lines.index("| loss | 0.1235 |") + 1] == "| validation loss | 2.0000 |"
    assert f"Corpus: 1,234,567 texts, digest `{'c' * 16}`." in lines
    taught = "It was trained without labelled data, on its teachers' answers to 1,234,000 unlabelled texts, with"
    assert taught in lines  # 567 of them teach nothing
    assert '  "max_length": 77,' in lines
    assert "## Examples" not in lines


def test_what_a_person_answered_has_its_interval() -> None:
    audit = {"texts": 1050, "share": 0.9402, "low": 0.924, "high": 0.953}
    text = "\n".join(card({}, routing={"teachers": {}, "estimate": None, "audit": audit}))
    assert "answered 1,050 random texts: by these answers the right teacher was chosen for 0.940 of the texts" in text
    assert "nobody knows" not in text
    answered = card({}, teachers=SEVERAL, integrate=RULE | {"aliases": {}, "answers": "review.csv@0123456789ab"})
    assert "Apart from a person's answers, no label was used" in "\n".join(answered)
    assert "nobody knows: too few answers tell it" in "\n".join(answered)


@pytest.mark.parametrize("routing", [None, {"teachers": {}, "estimate": None, "audit": None}])
def test_without_answers_nobody_knows_how_often_the_right_teacher_was_chosen(routing: dict[str, Any] | None) -> None:
    assert "nobody knows: no person has answered texts drawn at random. No label was" in "\n".join(
        card({}, routing=routing, teachers=SEVERAL)
    )


def test_labels_that_the_student_will_hardly_know_are_named() -> None:
    starved = {"label": LABEL, "answered": 1041, "taught": 2, "rival": "oak", "taken": 39}
    lines = card({}, routing={"teachers": {}, "estimate": None, "audit": None, "starved": [starved]})
    assert f"| {LABEL} | 1,041 | 2 | 39 | oak |" in lines
    assert "hardly know" not in "\n".join(card({}))


def test_files_of_answers_have_no_dropout_passes() -> None:
    network = FACTS["teachers"]["trees"]
    vendor, llm = network | {"gives": []}, network | {"gives": ["samples"]}
    mixed = "\n".join(card({}, teachers={"trees": network, "vendor": vendor, "llm": llm}))
    assert "| trees | `0123456789abcdef` | 8 dropout passes |" in mixed
    assert "| vendor | `0123456789abcdef` | a file of answers |" in mixed
    assert "| llm | `0123456789abcdef` | a file of answers, several samples of each text |" in mixed
    assert '"passes": 8' in mixed
    files = "\n".join(card({}, teachers={"vendor": vendor, "llm": llm}))
    assert "dropout" not in files.replace('"dropout"', "")
    assert '"passes"' not in files


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({}, "the scorer `gate` told which teacher to trust on which text (strategy `posterior`)."),
        ({"strategy": "soft", "scorer": "energy"}, "the scorer `energy` told which teacher to trust on which text"),
        ({"strategy": "concat"}, "the targets are those of `concat`, which reads no scores of teachers."),
        ({"strategy": "supervised"}, "the targets are those of `supervised`, which reads no scores of teachers."),
    ],
)
def test_the_rule_is_named_that_chose(rule: dict[str, str], expected: str) -> None:
    [line] = [line for line in card({}, integrate=RULE | rule) if line.startswith("[MUKI]")]
    assert expected in line


def test_of_a_single_teacher_nothing_is_said_of_a_choice() -> None:
    assert "right teacher was chosen" not in "\n".join(card({}))
