"""What annotation tools are given, and what they export.

The files in annotation_tools/ are exports: of a server of Label Studio 1, into which a review was imported and answered
by its API, and of the package argilla 2, before a stand-in for its server.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import pytest

from muki_pipeline.errors import MukiError
from muki_pipeline.labels.space import unite
from muki_pipeline.routing.annotation_tools.exports import TOOLS
from muki_pipeline.routing.annotation_tools.questions import Question
from muki_pipeline.routing.answers import none_answer, read_answer_table, unsure_answer

EXPORTS = Path(__file__).parent / "annotation_tools"
SPACE = unite({"one": ["apple", "unsure", "=plum & <x>"], "two": ["oak", "elm"]}, {})
CHOICES = [*SPACE.labels, none_answer(SPACE), unsure_answer(SPACE)]
ANSWERED = {
    "3433a0c24ad02e5cd5987aa7af2b9038": "=plum & <x>",
    "8aa8c0eb6a19cfba37baa5165af6b35d": "oak",  # by two people
    "bb185124ec0fa567050327abbb1835ac": "none",
}
UNSURE = "f21878fe44b2a559e0016a1efcd2dfc2"
SKIPPED = "310e95e990c747c11817bc1120376f"
ONE_UNSURE = {"argilla.json": "f66ccc", "label_studio.json": "6dd5c0"}
"""Texts that one person calls `unsure`, which is a label here, while the other is not sure."""
QUESTIONS = [
    Question("a", '</b> "x" \n退款', "oak (two 0.90)", "random", 2.5, "0123"),
    Question("b", "", "nothing", "starved", None, "0123"),
]


@pytest.mark.parametrize("name", ["argilla.json", "label_studio.json", "label_studio_min.json", "label_studio.csv"])
def test_what_tools_export_is_read(name: str) -> None:
    table = read_answer_table(EXPORTS / name, SPACE)
    assert table.columns == ["id", "drawn", "stands_for", "answer"]
    answers = dict(table.select("id", "answer").iter_rows())
    [both] = [text_id for text_id, answer in answers.items() if answer == "unsure"]
    assert both.startswith(ONE_UNSURE.get(name, ONE_UNSURE["label_studio.json"]))
    del answers[both]
    assert {text_id: answer for text_id, answer in answers.items() if answer} == ANSWERED
    assert answers[UNSURE] == ""
    skipped = [answer for text_id, answer in answers.items() if text_id.startswith(SKIPPED)]
    assert skipped == ([] if "label_studio" in name and "studio.json" not in name else [""])
    assert set(table["drawn"]) == {"random"}
    assert set(table["stands_for"]) == {1.0}


def disagree(name: str, entries: list[Any]) -> None:
    if name == "argilla.json":
        entries[1]["responses"]["answer"][1]["value"] = "elm"
    elif name == "label_studio.json":
        entries[1]["annotations"][1]["result"][0]["value"]["choices"] = ["elm"]
    else:
        entries[2]["answer"] = "elm"


def answer_wrongly(name: str, entries: list[Any]) -> None:
    if name == "argilla.json":
        entries[0]["responses"]["answer"][0]["value"] = "tree"
    elif name == "label_studio.json":
        entries[0]["annotations"][0]["result"][0]["value"]["choices"] = ["tree"]
    else:
        entries[0]["answer"] = "tree"


def facts(name: str, entry: Any) -> Any:
    return entry[{"argilla.json": "metadata", "label_studio.json": "data"}[name]] if "min" not in name else entry


def mix(name: str, entries: list[Any]) -> None:
    facts(name, entries[0])["sample"] = "another"


def strip(name: str, entries: list[Any]) -> None:
    del facts(name, entries[2])["sample"]


@pytest.mark.parametrize("name", ["argilla.json", "label_studio.json", "label_studio_min.json"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (disagree, "people disagree about 1 texts: '8aa8c0eb6a19cfba37baa5165af6b35d' is '.*' and '.*'. Settle on one"),
        (answer_wrongly, r"holds 'tree', .* nor none \(texts '3433a0c24ad02e5cd5987aa7af2b9038'\)"),
        (mix, r"holds answers to 2 samples: '3433a0c24ad02e5cd5987aa7af2b9038', '.*' are of different ones"),
        (strip, r"entry 3 is none of a review \(.*sample: "),
    ],
)
def test_exports_that_cannot_be_read_are_refused_by_name(
    tmp_path: Path, name: str, change: Callable[[str, list[Any]], None], message: str
) -> None:
    entries = json.loads((EXPORTS / name).read_text())
    change(name, entries)
    path = tmp_path / name
    path.write_text(json.dumps(entries))
    with pytest.raises(MukiError, match=message) as caught:
        read_answer_table(path, SPACE)
    assert caught.value.where == str(path)


def test_several_labels_of_one_person_are_refused(tmp_path: Path) -> None:
    entries = json.loads((EXPORTS / "label_studio.json").read_text())
    entries[0]["annotations"][0]["result"][0]["value"]["choices"] = ["oak", "elm"]
    path = tmp_path / "a.json"
    path.write_text(json.dumps(entries))
    with pytest.raises(MukiError, match=r"the text '3433.*' has several answers of one person: oak, elm"):
        read_answer_table(path, SPACE)


def test_label_studio_is_given_tasks_and_an_interface() -> None:
    written = TOOLS["label-studio"].files(QUESTIONS, CHOICES)
    assert sorted(written) == ["labelling.xml", "tasks.json"]
    view = Xml.fromstring(written["labelling.xml"])
    assert [choice.get("value") for choice in view.iter("Choice")] == CHOICES
    tasks = json.loads(written["tasks.json"])
    assert {text.get("value", "")[1:] for text in view.iter("Text")} <= tasks[0]["data"].keys()
    assert tasks[0] == {
        "data": {
            "text_id": "a",
            "text": '</b> "x" \n退款',
            "teachers": "oak (two 0.90)",
            "drawn": "random",
            "stands_for": 2.5,
            "sample": "0123",
        }
    }


def test_argilla_is_given_a_dataset() -> None:
    written = {name: json.loads(text) for name, text in TOOLS["argilla"].files(QUESTIONS, CHOICES).items()}
    assert sorted(written) == [".argilla/dataset.json", ".argilla/settings.json", "records.json"]
    assert written[".argilla/dataset.json"]["name"] == "review-0123"
    settings = written[".argilla/settings.json"]
    [question] = settings["questions"]
    assert [option["value"] for option in question["settings"]["options"]] == CHOICES
    first, second = written["records.json"]
    assert first["fields"].keys() == {field["name"] for field in settings["fields"]}
    assert first["metadata"] == {"drawn": "random", "sample": "0123", "stands_for": 2.5}
    assert second["metadata"] == {"drawn": "starved", "sample": "0123"}
    assert not any(property["visible_for_annotators"] for property in settings["metadata"])
