"""dvc.yaml is made from the settings: every input of a stage is a dependency of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from muki_pipeline import config
from muki_pipeline.errors import MukiError
from muki_pipeline.setup import dvc
from muki_pipeline.strict_yaml import read, write
from tests import repository, tiny

ROOT = Path(__file__).parents[3]


def project(root: Path, **changes: Any) -> tuple[config.Params, Any]:
    """Settings with a teacher in a folder, one in a package and one on the hub, and every kind of source."""
    for name in ("a [1].csv", "more.csv", "test.csv", "answers.csv", "texts/b.csv"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text("x")
    (root / "my models" / "one").mkdir(parents=True, exist_ok=True)
    (root.parent / "base").mkdir(exist_ok=True)
    content: dict[str, Any] = {
        "prepare": {
            "corpus": {"source": "a [1].csv", "text": "t"},
            "extra": [{"source": each, "text": "t"} for each in ("more.csv", "texts/*.csv", "owner/set")],
            "test": {"source": "test.csv", "text": "t", "label": "l"},
        },
        "teachers": {
            "one": {"model": "my models/one"},
            "packed": {"model": "package:pytest/x"},
            "far": {"model": "owner/name", "revision": "0" * 40},
        },
        "label": {},
        "embed": {},
        "integrate": {"scorer": "gate", "answers": "answers.csv@0123456789ab"},
        "student": {"model": "../base", "temperature": 2},
        "evaluate": {},
    }
    path = root / "params.yaml"
    path.write_text(write(content | changes))
    return config.load(path)


def stages(root: Path, **changes: Any) -> dict[str, Any]:
    return dvc.stages(*project(root, **changes))


def test_every_input_is_a_dependency_of_the_stages_that_read_it(tmp_path: Path) -> None:
    root = tmp_path / "project"
    root.mkdir()
    found = stages(root)
    assert found["prepare"]["deps"] == ["a [1].csv", "more.csv", "test.csv", "texts"]
    assert found["label-one"]["deps"] == ["data/corpus", "my models/one"]
    assert found["label-packed"]["deps"] == found["label-far"]["deps"] == ["data/corpus"]
    labels = ["data/labels/far", "data/labels/one", "data/labels/packed"]
    base = "../base"
    assert found["embed"]["deps"] == sorted([base, "data/corpus", *labels])
    assert found["embed"]["params"] == ["embed", "integrate", "student.model", "teachers"]
    assert found["integrate"]["deps"] == sorted(["answers.csv", "data/corpus", "data/embeddings", *labels])
    assert found["integrate"]["params"] == ["integrate", "label", "student.temperature", "teachers"]
    assert found["train-student"]["deps"] == sorted([base, "data/golden"])
    assert {"my models/one", base, "data/eval", "data/student", "data/golden"} <= set(found["evaluate"]["deps"])


def test_without_gold_labels_nothing_is_measured(tmp_path: Path) -> None:
    found = stages(tmp_path, prepare={"corpus": {"source": "more.csv", "text": "t"}})
    assert found["prepare"]["outs"] == ["data/corpus"]
    assert "evaluate" not in found
    text = dvc.render(*project(tmp_path, prepare={"corpus": {"source": "more.csv", "text": "t", "label": "l"}}))
    assert "data/eval" in text
    assert "confusion" not in text


def test_names_that_dvc_would_replace_stay_names(tmp_path: Path) -> None:
    (tmp_path / "${x}.csv").write_text("x")
    text = dvc.render(*project(tmp_path, prepare={"corpus": {"source": "${x}.csv", "text": "t"}}))
    assert read(text)["stages"]["prepare"]["deps"] == ["\\${x}.csv"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prepare": {"corpus": {"source": "*.csv", "text": "t"}}}, "holds what the stages write, so DVC cannot watch"),
        ({"student": {"model": "."}}, "holds what the stages write"),
        ({"evaluate": None}, "has no block evaluate, whose changes DVC should notice. Write evaluate: {}"),
    ],
)
def test_what_dvc_cannot_watch_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    params, layout = project(tmp_path, **{name: block for name, block in changes.items() if block is not None})
    if None in changes.values():
        params = params.model_copy()
        params.__pydantic_fields_set__.discard("evaluate")
    with pytest.raises(MukiError, match=message):
        dvc.stages(params, layout)


def test_a_file_that_lacks_what_the_settings_name_is_refused(tmp_path: Path) -> None:
    params, layout = project(tmp_path)
    dvc.check(params, layout)  # there is none
    path = dvc.write(params, layout)
    dvc.check(params, layout)
    more = [*params.prepare.extra, params.prepare.corpus.model_copy(update={"source": "answers.csv"})]
    wider = params.model_copy(update={"prepare": params.prepare.model_copy(update={"extra": more})})
    with pytest.raises(MukiError, match=r"stage prepare lacks 'answers.csv' among its deps.*Run muki-pipeline dvc"):
        dvc.check(wider, layout)
    dvc.write(wider, layout)
    dvc.check(wider, layout)
    teachers = params.teachers | {"two": params.teachers["one"]}
    with pytest.raises(MukiError, match="has no stage label-two"):
        dvc.check(wider.model_copy(update={"teachers": teachers}), layout)
    path.write_text("stages: [")
    with pytest.raises(MukiError, match="lists no stages"):
        dvc.check(params, layout)
    with pytest.raises(MukiError, match="was written or edited by somebody"):
        dvc.write(params, layout)
    dvc.write(params, layout, force=True)
    path.write_text(path.read_text() + "\n# mine\n")
    with pytest.raises(MukiError, match="was written or edited by somebody"):
        dvc.write(params, layout)


def edited(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = read(path.read_text())
    change(content["stages"])
    path.write_text(write(content))


def test_edits_that_take_nothing_away_are_welcome(tmp_path: Path) -> None:
    params, layout = project(tmp_path)
    path = dvc.write(params, layout)

    def edit(stages: dict[str, Any]) -> None:
        stages["train-student"]["outs"] = [{"data/student": {"push": False}}]
        stages["integrate"]["params"] += ["student.model", {"other.yaml": ["key"]}]
        stages["integrate"]["deps"].append("own.py")
        stages["report"] = {"cmd": "muki-pipeline report"}
        stages["label-mails"] = {"cmd": "python label.py"}
        stages["label-report"] = {"cmd": "muki-pipeline report"}
        stages["evaluate-holdout"] = {"cmd": "muki-pipeline predict holdout.csv"}

    edited(path, edit)
    dvc.check(params, layout)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"prepare": {"corpus": {"source": "more.csv", "text": "t"}}},
            "stage prepare has 'data/eval' among its outs, which params.yaml no longer asks for",
        ),
        ({"teachers": {"far": {"model": "owner/name", "revision": "0" * 40}}}, "has a stage label-one, which"),
        ({"integrate": {}}, "stage embed lacks 'integrate' among its params"),
        ({"student": {"model": "../base"}}, "stage integrate lacks 'student' among its params"),
    ],
)
def test_what_the_settings_no_longer_name_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    root = tmp_path / "project"
    root.mkdir()
    dvc.write(*project(root, integrate={"aliases": {}}))
    with pytest.raises(MukiError, match=f"{message}.*Run muki-pipeline dvc"):
        dvc.check(*project(root, **({"integrate": {"aliases": {}}} | changes)))


def test_the_demos_file_comes_from_the_same_source() -> None:
    assert (ROOT / "dvc.yaml").read_text() == repository.stages(ROOT / "params.yaml")


def test_a_tiny_project_has_all_blocks(tmp_path: Path) -> None:
    params, layout = config.load(tiny.save_project(tmp_path, embed={"max_length": 24}))
    assert list(dvc.stages(params, layout))[-1] == "evaluate"
