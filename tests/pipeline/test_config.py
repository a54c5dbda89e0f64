"""Hostile and mistaken params.yaml: every one is refused with its key."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from muki_pipeline import config
from muki_pipeline.errors import MukiError, chosen
from tests import tiny

NUMBERS = {
    "label.passes": (1, 0, -3, 2.5, "many", 10**30, None, []),
    "label.seed": (-1, 2**32, 0.5),
    "label.max_length": (3, -1, "long"),
    "integrate.temperature": (0, -1, ".inf", "-.inf", ".nan", "1e999"),
    "integrate.unknown_share": (".nan", "-0.1", "0.95", "x"),
    "student.learning_rate": (0, ".nan", ".inf", "fast"),
    "student.weight_decay": (-0.1, ".nan"),
    "student.warmup": (1, 1.5, -0.1),
    "student.validation_share": (1, -1, ".nan"),
    "student.batch_size": (0, -8, 1.5),
    "student.epochs": (0, ".inf", 10**30),
    "prepare.shard_rows": (0, -1),
}
CASES = [(key, value) for key, values in NUMBERS.items() for value in values]


@pytest.mark.parametrize(("key", "value"), CASES, ids=[f"{key}={value}" for key, value in CASES])
def test_a_number_out_of_bounds_is_refused_with_its_key(tmp_path: Path, key: str, value: Any) -> None:
    block, name = key.split(".")
    content = tiny.params(["one", "two"])
    content.setdefault(block, {})[name] = "PLACE"
    text = yaml.safe_dump(content).replace("PLACE", value if str(value).startswith((".", "-.", "1e")) else repr(value))
    (tmp_path / "params.yaml").write_text(text.replace("None", "null"))
    with pytest.raises(MukiError, match=key):
        config.load(tmp_path / "params.yaml")


TEXTS = {
    "a list": "- prepare",
    "a number": "3",
    "nothing": "",
    "a tag that would run code": "prepare: !!python/object/apply:os.system ['touch /tmp/ran']",
    "a key twice": "student: {model: a}\nstudent: {model: b}",
    "references": "a: &a [x]\nb: *a",
    "no UTF-8": "prepare: \udcff",
    "an unclosed bracket": "prepare: {",
    "an unknown block": "prepares: {}",
    "a tab": "prepare:\n\tcorpus: x",
}


@pytest.mark.parametrize("case", TEXTS)
def test_a_file_that_is_no_settings_is_refused(tmp_path: Path, case: str) -> None:
    (tmp_path / "params.yaml").write_bytes(TEXTS[case].encode("utf-8", "surrogateescape"))
    with pytest.raises(MukiError, match=r"params\.yaml"):
        config.load(tmp_path / "params.yaml")


@pytest.mark.parametrize("name", ["", "../x", "a/b", "Ä", "A", "-x", "x" * 65, "a b", "$(id)", "a;b", "a'b"])
def test_a_teacher_whose_name_is_no_plain_folder_name_is_refused(tmp_path: Path, name: str) -> None:
    content = tiny.params(["one", "two"])
    content["teachers"][name] = {"model": "m"}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(content, allow_unicode=True))
    with pytest.raises(MukiError, match="teachers"):
        config.load(tmp_path / "params.yaml")


def test_a_key_that_occurs_twice_is_refused(tmp_path: Path) -> None:
    text = yaml.safe_dump(tiny.params(["one", "two"]))
    (tmp_path / "params.yaml").write_text(text.replace("  passes: 3\n", "  passes: 3\n  passes: 5\n"))
    with pytest.raises(MukiError, match='line 12: found duplicate key "passes"'):
        config.load(tmp_path / "params.yaml")


def test_a_reference_is_refused(tmp_path: Path) -> None:
    text = yaml.safe_dump(tiny.params(["one", "two"]))
    (tmp_path / "params.yaml").write_text(
        text.replace("topic", "&a topic", 1).replace("topic", "*a").replace("&a *a", "&a topic")
    )
    with pytest.raises(MukiError, match="aliases"):
        config.load(tmp_path / "params.yaml")


@pytest.mark.parametrize(
    ("block", "key", "near"),
    [("label", "pases", "passes"), ("student", "learning_rat", "learning_rate"), ("integrate", "scoer", "scorer")],
)
def test_an_unknown_key_is_told_with_the_one_it_resembles(tmp_path: Path, block: str, key: str, near: str) -> None:
    content = tiny.params(["one", "two"])
    content[block][key] = 1
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(MukiError, match=rf"{block}\.{key}: .*did you mean {near}\?"):
        config.load(tmp_path / "params.yaml")


def test_an_unknown_teacher_is_told_with_the_one_it_resembles(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(tiny.params(["sales", "support"])))
    params, _ = config.load(tmp_path / "params.yaml")
    with pytest.raises(MukiError, match=r"no teacher 'sale'\. Did you mean 'sales'\? There is 'sales', 'support'"):
        chosen("sale", params.teachers, "teacher", "params.yaml")
