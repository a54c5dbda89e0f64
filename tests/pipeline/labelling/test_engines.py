"""Labelling by several processes."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import polars as pl
import pytest
import torch
from transformers import AutoModelForSequenceClassification

from muki_pipeline.blocks import Teacher
from muki_pipeline.config import Label
from muki_pipeline.corpus.table import with_ids, write_corpus
from muki_pipeline.engines.processes import Processes
from muki_pipeline.errors import MukiError
from muki_pipeline.labelling.run import label_with
from muki_pipeline.layout import Layout
from tests import tiny

SETTINGS = Label(passes=2, max_length=20, device="cpu", dtype="float32")


@pytest.fixture
def project(tmp_path: Path) -> tuple[dict[str, Teacher], Layout]:
    layout = Layout(tmp_path)
    write_corpus(layout.corpus, with_ids(pl.DataFrame({"text": tiny.texts(60)})), shard_rows=4)
    for seed, name in enumerate("ab"):
        tiny.save_teacher(tmp_path / name, ["x", "y", "z"], seed=seed)
    return {name: Teacher(model=name) for name in "ab"}, layout


def table(layout: Layout, name: str) -> pl.DataFrame:
    return pl.read_parquet(layout.labels(name) / "*.parquet")


def test_processes_make_the_same_tables(project: tuple[dict[str, Teacher], Layout], tmp_path: Path) -> None:
    teachers, layout = project
    done = label_with(teachers, SETTINGS, layout, engine=partial(Processes, 2))
    assert [summary.new_rows for summary in done.values()] == [60, 60]
    assert done["a"].throughput.texts == 60 * 3
    tables = {name: table(layout, name) for name in teachers}
    (layout.work / "labels").rename(tmp_path / "elsewhere")
    label_with(teachers, SETTINGS, layout)
    for name in teachers:
        assert table(layout, name).equals(tables[name])
    assert label_with(teachers, SETTINGS, layout, engine=partial(Processes, 2))["a"].new_rows == 0


def test_a_mistake_that_a_process_finds_is_reported_as_in_this_one(project: tuple[dict[str, Teacher], Layout]) -> None:
    teachers, layout = project
    model = AutoModelForSequenceClassification.from_pretrained(layout.root / "a")
    with torch.no_grad():
        model.classifier.bias[0] = float("nan")
    model.save_pretrained(layout.root / "a")
    with pytest.raises(MukiError, match="NaN or infinite") as alone:
        label_with({"a": teachers["a"]}, SETTINGS, layout)
    with pytest.raises(MukiError, match="NaN or infinite") as caught:
        label_with({"a": teachers["a"]}, SETTINGS, layout, engine=partial(Processes, 2))
    assert caught.value.fix == alone.value.fix


def test_processes_make_features_too(project: tuple[dict[str, Teacher], Layout], tmp_path: Path) -> None:
    teachers, layout = project
    label_with(teachers, SETTINGS, layout)
    settings = SETTINGS.model_copy(update={"features": True})
    done = label_with(teachers, settings, layout, engine=partial(Processes, 2))
    assert [each.new_rows for each in done.values()] == [0, 0]  # labels are not made again for features
    features = {name: pl.read_parquet(layout.features(name) / "*.parquet") for name in teachers}
    assert {len(table) for table in features.values()} == {60}
    (layout.work / "features").rename(tmp_path / "elsewhere")
    label_with(teachers, settings, layout)
    for name in teachers:
        assert pl.read_parquet(layout.features(name) / "*.parquet").equals(features[name])
    label_with(teachers, SETTINGS, layout)
    assert not layout.features("a").exists()


def children_of(parent: int) -> list[int]:
    """A process's children, by number."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if (folder / "stat").read_text().rpartition(")")[2].split()[1] == str(parent):
                found.append(int(folder.name))
        except OSError:
            continue  # it has just ended
    return sorted(found)


@pytest.mark.slow
def test_ctrl_c_stops_all_and_keeps_what_is_finished(tmp_path: Path) -> None:
    from muki_stages import prepare

    path = tiny.save_project(tmp_path, rows=240)
    prepare.main(path)
    command = [sys.executable, "-m", "muki_stages.cli", "label"]
    command += ["--teacher", "all", "--workers", "2", "--params", str(path)]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    stored = tmp_path / "data" / ".work" / "labels"
    while len(list(stored.glob("*.json"))) < 3:
        assert running.poll() is None
        time.sleep(0.02)
    os.killpg(running.pid, signal.SIGINT)
    _, stderr = running.communicate(timeout=60)
    assert running.returncode != 0
    assert "Traceback" not in stderr
    finished = {file.name: file.stat().st_mtime_ns for file in stored.glob("*.json")}
    assert 3 <= len(finished) < 60
    subprocess.run(command, check=True, capture_output=True)
    again = {file.name: file.stat().st_mtime_ns for file in stored.glob("*.json")}
    assert len(again) == 60
    assert finished.items() <= again.items()


def test_ray_needs_to_know_the_arithmetic(tmp_path: Path) -> None:
    from muki_stages import label

    path = tiny.save_project(tmp_path, label={"passes": 2})
    with pytest.raises(MukiError, match=r"label\.dtype: auto would be decided on this machine"):
        label.main("all", path, engine="ray")
