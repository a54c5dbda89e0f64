"""The commands that measure, on tiny projects: they write what `make docs` reads."""

import sys
from pathlib import Path

import polars as pl
import pytest

from experiments import curves, record
from experiments.routing import audit, build, judge
from experiments.routing.settings import Base, Setting, Texts
from tests import measured, tiny

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
    for module in (build, judge, audit, curves):
        for name, value in {
            "bases": lambda: [base],
            "settings": lambda built: [setting],
            "MODEL": model,
            "DATA": tmp_path / "suite",
        }.items():
            if hasattr(module, name):
                monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(curves, "DATA", tmp_path / "curves")
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
    monkeypatch.setattr(audit, "ANSWERS", (0, 4))
    audit.main()
    assert [line[:3] for line in measured.answers(record.read("answers", suite))[2:]] == ["|0|", "|4|"]


def test_curves_write_students_and_the_average(suite: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = [
        "curves",
        "tiny",
        "12",
        "--seeds",
        "2",
        "--epochs",
        "1",
        "--layers",
        "1",
        "--rules",
        "gate",
        "supervised",
    ]
    monkeypatch.setattr(sys, "argv", command)
    curves.main()
    name, found = "tiny-12-epochs-1-layers-1", record.read("students", suite)
    assert {*found} == {f"students/{name}/{rule}" for rule in ("gate", "supervised")}
    assert [*record.read("averages", suite)] == [f"averages/{name}"]
    assert measured.students(found)[2].startswith(f"|`{name}`|12|")
