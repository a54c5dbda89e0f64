"""Measured figures: what a record holds, what is in results/, and the tables that are made of it."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from experiments import record
from tests import measured, tiny
from tests.faults import campaign
from tests.faults.__main__ import figures

ROOT = Path(__file__).parents[1]
HERE = {
    "processor": "Fast",
    "cores": 2,
    "instructions": "AVX2",
    "gpu": None,
    "arithmetic": "float32",
}


def records(**values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Records of one command on one machine, by name."""
    facts = {"command": "make bench", "commit": "1234567890", "modified": False, "machine": HERE}
    return {name.replace("__", "/"): {**facts, "values": each} for name, each in values.items()}


def test_a_record_names_command_commit_and_machine(tmp_path: Path) -> None:
    recorder = record.Recorder("make bench", tmp_path)
    path = recorder.write("benchmarks/passes", {"rows": []}, seconds=1.26, seeds=[3])
    assert path == tmp_path / "benchmarks" / "passes.json"
    [(name, written)] = record.read("benchmarks", tmp_path).items()
    assert name == "benchmarks/passes"
    assert {*written} == record.FIELDS
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    assert written["commit"] is None or head.startswith(written["commit"])
    assert (written["command"], written["seconds"], written["seeds"]) == ("make bench", 1.3, [3])
    assert written["machine"]["cores"] >= 1
    assert written["machine"]["arithmetic"] in ("float32", "bfloat16")


def test_no_record_holds_a_number_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nan"):
        record.Recorder("x", tmp_path).write("x", {"accuracy": float("nan")}, seconds=None)


def test_students_are_recorded_by_rule_with_their_tests(tmp_path: Path) -> None:
    students = pl.DataFrame({"rule": ["gate", "gate", "muki"], "seed": [0, 1, 0], "seconds": [2.0, 3.0, None]})
    tests = pl.DataFrame({"rule": ["gate"], "other": ["muki"], "p_value": [0.5]})
    record.Recorder("x", tmp_path).write_students("students/news", students, tests, base="news")
    found = record.read("students", tmp_path)
    assert {*found} == {"students/news/gate", "students/news/muki"}
    gate = found["students/news/gate"]
    assert (gate["seeds"], gate["seconds"], gate["values"]["base"]) == ([0, 1], 5.0, "news")
    assert found["students/news/muki"]["seconds"] is None, "nobody knows what a resumed training took"
    assert gate["values"]["tests"] == found["students/news/muki"]["values"]["tests"] == tests.to_dicts()


def test_a_demo_that_was_not_run_here_is_not_recorded(tmp_path: Path) -> None:
    path = tiny.save_project(tmp_path)
    with pytest.raises(SystemExit, match="run make demo on this machine first"):
        record.record_demo(path.parent, tmp_path / "results")


def test_the_demo_is_recorded(tmp_path: Path) -> None:
    path = tiny.save_project(tmp_path)
    tiny.finish(path)
    (tmp_path / "data" / "metrics.json").write_text('{"student": {"accuracy": 0.5}}')
    found = json.loads(record.record_demo(path.parent, tmp_path / "results").read_text())
    assert (found["command"], found["values"]) == ("make demo", {"student": {"accuracy": 0.5}})


FILES = sorted((ROOT / "results").rglob("*.json"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_of_results_is_whole(path: Path) -> None:
    written = json.loads(path.read_text())
    assert {*written} == record.FIELDS
    assert re.fullmatch(r"[0-9a-f]{10}", written["commit"])
    assert re.fullmatch(r"\d{4}-\d{2}-\d{2}", written["date"])
    assert written["values"]


def test_the_demos_results_are_its_metrics() -> None:
    """Those of this commit: `make demo` on another machine may write slightly different ones."""
    path = "data/metrics.json"
    committed = subprocess.run(["git", "show", f"HEAD:{path}"], cwd=ROOT, capture_output=True, text=True, check=False)
    texts = [(ROOT / path).read_text(), *([committed.stdout] if committed.returncode == 0 else [])]
    [demo] = record.read("metrics/demo").values()
    assert demo["values"] in [json.loads(text) for text in texts]


def test_a_table_without_files_is_left_out() -> None:
    assert measured.part("nothing-of-this-name", measured.faults) == measured.MISSING


def test_the_source_names_each_fact_once() -> None:
    line = measured.source(records(one={}, two={}).values())
    assert line == "*`make bench`; commit 1234567890; 2 cores of Fast (AVX2), float32*"
    [one] = records(one={}).values()
    alone = {**one, "machine": one["machine"] | {"cores": 1}}
    assert measured.source([alone]).endswith("; 1 core of Fast (AVX2), float32*")
    assert measured.source([one, alone]).endswith("; 1-2 cores of Fast (AVX2), float32*")
    [changed] = records(one={}).values()
    assert "1234567890 with changes" in measured.source([{**changed, "modified": True, "machine": None}])
    assert "machine not recorded" in measured.source([{**changed, "machine": None}])


def test_benchmarks_of_several_lengths_stand_in_one_row() -> None:
    row = {"what": "pass", "target": 0.95, "at_most": False, "note": ""}
    rows = [
        {**row, "measured": 0.99, "at": "16 tokens"},
        {**row, "what": "memory", "measured": 1.2, "at": "", "target": 1.1, "at_most": True},
        {**row, "measured": 0.9, "at": "32 tokens"},
        {**row, "what": "gpu", "measured": None, "at": "", "note": "there is no GPU"},
    ]
    assert measured.benchmarks(records(passes={"rows": rows}))[2:] == [
        "|pass, 16, 32 tokens|≥ 0.95|0.99, 0.90 missed|",
        "|memory|≤ 1.10|1.20 missed|",
    ]


def test_the_routing_suite_is_shown_in_its_order_with_its_gain() -> None:
    def setting(name: str, right: float, is_bound: bool) -> dict[str, Any]:
        rules = {rule: {"right": share} for rule, share in {"mc_entropy": 0.5, "energy": 0.6, "gate": right}.items()}
        about = {"setting": name, "base": "news-3", "texts": 1100, "rules": rules}
        return {**about, "gain": right - 0.5, "is_bound": is_bound}

    misnamed, plain = setting("misnamed, news", 0.45, False), setting("20 Newsgroups, 3", 0.9, True)
    found = measured.routing(records(routing__misnamed=misnamed, routing__plain=plain))
    assert found[2:4] == [
        "|20 Newsgroups, 3|1,100|0.500|0.600|0.900|+40.0|",
        "|misnamed, news|1,100|0.500|0.600|0.450|-5.0|",
    ]
    assert "+40.0 to +40.0 points on 1 settings" in found[-4]
    assert "-5.0 to -5.0 points on 1 settings" in found[-3]
    assert found[-2] == "`energy` beats `gate` on 1 settings, by up to 15.0."
    assert found[-1] == "With it among the others, the gain with real names is +30.0 to +30.0."


def test_students_with_a_label_for_foreign_texts_are_shown_beside_others() -> None:
    def student(variant: str, accuracy: float) -> dict[str, Any]:
        measures = ("accuracy_of_known", "unknown_found", "known_called_unknown", "left_out")
        return {"variant": variant, "accuracy": accuracy, **dict.fromkeys(measures, 0.5)}

    students = [student("left out", 0.7), student("label", 0.8), student("label", 0.9)]
    found = measured.unknown_label(records(unknown_label={"students": students}))
    assert [row.split("|")[1:3] for row in found[2:]] == [["left out", "0.700 (1)"], ["label", "0.850 ± 0.071 (2)"]]


def test_what_grows_is_shown_by_rows_and_workers() -> None:
    row = {"what": "prepare", "rows": 10_000, "seconds": 0.25, "peak_mib": 512.3}
    assert measured.scale_rows(records(rows={"rows": [row]}))[2] == "|prepare|0.25 s, 512 MiB|"
    workers = [{"engine": "Ray", "workers": count, "seconds": 10.0 / count} for count in (1, 2)]
    assert measured.scale_workers(records(workers={"rows": workers}))[2] == "|Ray|10.0|5.0|"
    tests = [{"outcome": outcome} for outcome in ("passed", "passed", "skipped")]
    kills = measured.scale_kills(records(kills={"worker_kills": 20, "node_kills": 10, "tests": tests}))
    assert kills == ["20 workers and 10 nodes killed; of 3 tests 2 passed, 1 skipped."]


def test_tables_of_one_rule_and_setting_agree() -> None:
    """The routing suite and what less of a teacher tells: the same rule on all that teachers give."""
    routing = {each["setting"]: each["rules"]["gate"]["right"] for each in measured.values_of(record.read("routing"))}
    outputs = list(measured.values_of(record.read("outputs")))
    assert outputs
    for values in outputs:
        # Teachers that are trained on another machine differ in the third decimal.
        full = values["rules"]["gate"]["full"]["right"]
        assert full == pytest.approx(routing[values["setting"]], abs=0.002), values["setting"]


def test_the_campaigns_rows_are_shown() -> None:
    row = campaign.Row("disk full", runs=1500, left=20, bad=["a traceback"], seconds=9.0)
    assert measured.faults(records(faults=figures({"disk full": row})))[2] == "|disk full|1,500|20|1|"
