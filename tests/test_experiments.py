"""The commands that measure, on tiny projects: they write what `make docs` reads."""

import sys
from pathlib import Path

import polars as pl
import pytest

from experiments import record
from experiments.rivals import __main__ as rivals_main
from experiments.rivals import project, rows
from experiments.rivals import settings as rivals_settings
from experiments.routing import audit, build, judge
from experiments.routing.settings import Base, Setting, Texts
from tests import measured, rivals_tables, tiny

TEACHERS = {"one": ["apple", "pear"], "two": ["oak", "elm"]}


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A routing suite with one base of tiny models, built; its results go into the folder that is returned."""
    labels = [label for known in TEACHERS.values() for label in known]
    texts = tiny.texts(48, seed=1)
    rows = pl.DataFrame({"text": [f"{text} w{n % 4}" for n, text in enumerate(texts)], "label": labels * 12})
    base = Base("tiny", lambda: Texts(rows[:24], rows[24:]), TEACHERS, steps=2, max_length=16, layers=1)
    setting = Setting("20 Newsgroups, 3", "tiny", is_bound=False)
    model = str(tiny.save_pretrained_encoder(tmp_path / "base"))
    for module in (build, judge, audit):
        for name, value in {
            "bases": lambda: [base],
            "settings": lambda built: [setting],
            "MODEL": model,
            "DATA": tmp_path / "suite",
        }.items():
            if hasattr(module, name):
                monkeypatch.setattr(module, name, value)
    results = tmp_path / "results"
    # Defaults of parameters are those of the modules as they were imported.
    monkeypatch.setattr(record.Recorder.__init__, "__defaults__", (None, results))
    monkeypatch.setattr(judge.ask, "__defaults__", (build.DATA, build.LABEL.dtype))
    judge.stored.cache_clear()
    build.write_texts(base, build.Layout(build.DATA / base.name))
    for name in TEACHERS:
        build.train(base, name)
        build.label(base, name, build.DATA)
    return results


def test_judge_writes_every_rule_of_a_setting(suite: Path) -> None:
    assert judge.main("")
    found = record.read("routing", suite)
    [values] = measured.values_of(found)
    assert {*values["rules"]} == {*judge.JUDGED}
    assert values["texts"] == 24
    assert measured.routing(found)[2].startswith("|20 Newsgroups, 3|24|")


def test_audit_writes_what_answers_buy(suite: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"SETTINGS": ("20 Newsgroups, 3",), "ANSWERS": (0, 4), "FEW": 20, "DRAWS": 3}.items():
        monkeypatch.setattr(audit, name, value)
    audit.main()
    found = record.read("answers", suite)
    heading, _, row = measured.answers(found)
    assert "20 answers: interval, coverage" in heading
    assert "right on others after 4" in heading
    [values] = [each["values"] for each in found.values()]
    assert row.startswith(f"|20 Newsgroups, 3|{values['right']:.3f}|±{values['told']['active']['half_width']:.3f}, ")
    assert values["told"]["active"]["coverage"] in (0, 1 / 3, 2 / 3, 1)
    assert values["told"]["active"]["needed"] <= 24


def test_rivals_write_a_file_for_each_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = [label for known in TEACHERS.values() for label in known]
    texts = pl.DataFrame({"text": tiny.texts(72, seed=1), "label": labels * 18}).with_columns(
        pl.concat_str("text", pl.lit(" w"), pl.int_range(pl.len()) % 4)
    )
    model = str(tiny.save_pretrained_encoder(tmp_path / "base"))
    setting = rivals_settings.Setting(
        "tiny",
        lambda: rivals_settings.Texts(texts[:24], texts[24:48], texts[48:]),
        TEACHERS,
        steps=2,
        max_length=16,
        models=dict.fromkeys(TEACHERS, model),
        encoder=model,
        student={"epochs": 1},
    )
    monkeypatch.setitem(rivals_settings.TITLES, "tiny", "Tiny, 2")
    monkeypatch.setattr(rivals_main, "settings", lambda: [setting])
    monkeypatch.setattr(project, "DATA", tmp_path / "rivals")
    results = tmp_path / "results"
    monkeypatch.setattr(record.Recorder.__init__, "__defaults__", (None, results))
    asked = ["rivals", "tiny", "--sizes", "12", "all", "--seeds", "2"]
    monkeypatch.setattr(sys, "argv", asked)
    rivals_main.main()
    found = record.read("rivals", results)
    every = {
        "setting",
        *rivals_main.PAIRED,
        *rivals_main.ONCE,
        *rivals_main.FEW,
        *rivals_main.DIRECT,
        rivals_main.COSTS,
    }
    few = {*rivals_main.FEW}
    assert {name.rsplit("/")[-1] for name in found if "tiny-24" in name} == every - few | {"gold_5"}
    assert {name.rsplit("/")[-1] for name in found if "tiny-12" in name} == every - few
    default = found["rivals/tiny-24/gate"]["values"]
    assert [student["seed"] for student in default["students"]] == [0, 1]
    assert {test["other"] for test in default["tests"]} == {"muki", "supervised", "names_student"}
    once = found["rivals/tiny-24/uhc"]["values"]
    assert [student["seed"] for student in once["students"]] == [0]
    assert ("gate", "uhc") in [(test["rule"], test["other"]) for test in once["tests"]]
    facts = found["rivals/tiny-24/setting"]["values"]
    assert facts["teachers"]["one"]["texts"] == 12
    assert facts["gold"] == {"gold_5": 5.0, "supervised": 6.0}
    costs = found["rivals/tiny-24/costs"]["values"]["seconds"]
    assert {"gate", "train", "train_10"} < costs.keys()
    assert all(cost > 0 for cost in costs.values())
    for table in (rivals_tables.without_gold, rivals_tables.gold, rivals_tables.costs):
        assert [line.split("|")[1:3] for line in table(found)[2:]] == [["Tiny, 2", "12"], ["Tiny, 2", "24"]]


def test_gold_labels_are_the_first_of_each_label() -> None:
    gold = {"1": "a", "2": "b", "3": "a", "4": "a"}
    assert rows.first_of_each(gold, 2) == {"1": "a", "2": "b", "3": "a"}
