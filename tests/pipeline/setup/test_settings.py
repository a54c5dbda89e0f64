from pathlib import Path
from typing import Any

import pytest
import yaml

from muki_pipeline import config, strict_yaml
from muki_pipeline.corpus.dialects import Dialect
from muki_pipeline.errors import MukiError
from muki_pipeline.setup import candidates, look
from muki_pipeline.setup.look import LabelPair, Lengths
from muki_pipeline.setup.settings import Texts, render, write_project
from tests import tiny

LENGTHS = Lengths(16, 12)


def rendered(root: Path, labels: dict[str, list[str]], **others: Any) -> str:
    for name, known in labels.items():
        tiny.save_teacher(root / name, known)
    for name in ("a.csv", "b.csv"):
        (root / name).write_text("body,topic\n")
    teachers = [candidates.find_teacher(name, name, root) for name in labels]
    pairs = look.pairs_of_labels(labels)
    texts, test = Texts("a.csv", "body", dialect=Dialect(";", "doubled", True)), Texts("b.csv", "body", "topic")
    return render(texts, test, teachers, LENGTHS, {"model": "base"}, pairs)


def test_what_is_written_is_valid_and_says_what_was_found(tmp_path: Path) -> None:
    text = rendered(tmp_path, {"one": ["cancel: order", "b"], "two": ["Cancel Order", "no"]})
    paths = write_project(tmp_path, text)
    assert [path.name for path in paths] == ["params.yaml", "dvc.yaml"]
    params, _ = config.load(tmp_path / "params.yaml")
    assert params.teachers["two"].model == "two"
    assert params.prepare.corpus.delimiter == ";"
    assert params.prepare.test is not None
    assert params.label.max_length == 16
    assert params.student.max_length == params.embed.max_length == 12
    with pytest.raises(MukiError, match="is there already"):
        write_project(tmp_path, text)
    write_project(tmp_path, text, force=True)


LONG = "a rather long name of a label, of forty x"


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (["cancel: order", "b"], ["Cancel Order", "no"]),
        ([LONG + "s", "b"], [LONG, "c"]),
        (["a\nline", "refund"], ["a line", "refunds"]),
        (["yes", "no"], ["Yes", "No"]),
        (["# a", "x: y"], ["a", "x y"]),
    ],
)
def test_proposed_aliases_hold_when_they_are_uncommented(tmp_path: Path, one: list[str], two: list[str]) -> None:
    text = rendered(tmp_path, {"one": one, "two": two})
    proposed = text[text.index("  aliases: {}") :].split("\n\n")[0].splitlines()
    block = "\n".join(["integrate:", *(line.replace("  # ", "  ", 1) for line in proposed[2:])])
    wanted = {"integrate": {"aliases": {"two": dict(zip(two, one, strict=True))}}}
    if one[1] == "b":
        del wanted["integrate"]["aliases"]["two"][two[1]]
    assert strict_yaml.read(block) == yaml.safe_load(block) == wanted
    assert config.parse(text, Path("params.yaml")).integrate.aliases == {}


def test_one_label_is_proposed_once_for_two_teachers() -> None:
    pairs = [LabelPair(("a", "c"), ("refund", "refunds")), LabelPair(("b", "c"), ("Refund", "refunds"))]
    text = render(Texts("a.csv", "body"), None, [], LENGTHS, {"model": "base"}, pairs)
    assert text.count("refunds: ") == 1
