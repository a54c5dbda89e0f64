"""The loop over shards and workers, with workers that die; and several processes."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from multiprocessing import active_children
from pathlib import Path

import polars as pl
import pytest
import torch
from transformers import AutoModelForSequenceClassification

from muki_pipeline.config import Label, Teacher
from muki_pipeline.corpus.table import with_ids, write_corpus
from muki_pipeline.errors import MukiError
from muki_pipeline.labelling.engines.dispatch import Failed, Labelled, Lost, Outcome, label_shards
from muki_pipeline.labelling.engines.local import Processes
from muki_pipeline.labelling.labeller import Labeller, Throughput
from muki_pipeline.labelling.run import label_with
from muki_pipeline.layout import Layout
from muki_pipeline.store.folder import FolderStore
from muki_pipeline.store.store import Shard
from tests import tiny

SETTINGS = Label(passes=2, max_length=20, device="cpu", dtype="float32")


def shard(number: int) -> Shard:
    return Shard(f"part-{number:05d}.parquet", 1, 1, "", f"key {number}", FolderStore(Path()))


class Scripted:
    """Workers whose outcomes are written down: by shard, what happens the first time, the second time, and so on."""

    def __init__(self, count: int, **outcomes: list[Outcome]) -> None:
        self.count, self.outcomes = count, outcomes
        self.started: list[object] = []
        self.alive: set[int] = set()
        self.most = 0
        self.given: deque[tuple[int, Shard]] = deque()
        self.is_closed = False

    def start(self, labeller: Labeller) -> int:
        self.started.append(labeller)
        self.alive.add(len(self.started))
        self.most = max(self.most, len(self.alive))
        return len(self.started)

    def give(self, worker: int, shard: Shard) -> None:
        assert worker in self.alive
        self.given.append((worker, shard))

    def wait(self) -> Iterable[tuple[int, Outcome]]:
        worker, given = self.given.popleft()
        waiting = self.outcomes.get(given.file[8:10])
        outcome = waiting.pop(0) if waiting else Labelled(given, Throughput(texts=1))
        if isinstance(outcome, Lost):
            self.alive.remove(worker)
        return [(worker, outcome)]

    def stop(self, worker: int) -> None:
        self.alive.remove(worker)

    def close(self) -> None:
        self.is_closed = True


def run(workers: Scripted, **shards: list[int]) -> list[tuple[str, str]]:
    done: list[tuple[str, str]] = []
    labellers: dict[str, Labeller] = {name: name for name in shards}
    numbered = {name: [shard(number) for number in numbers] for name, numbers in shards.items()}
    try:
        label_shards(labellers, numbered, workers, lambda name, each, _: done.append((name, each.key)))
    finally:
        assert workers.is_closed
    return sorted(done)


def test_every_shard_of_every_teacher_is_labelled_once() -> None:
    workers = Scripted(3)
    assert run(workers, a=[0, 1, 2, 3, 4], b=[0]) == [*(("a", f"key {n}") for n in range(5)), ("b", "key 0")]
    assert workers.most == 3
    assert workers.started == ["a", "a", "a", "b"]  # a worker keeps its teacher


def test_no_worker_waits_while_another_teacher_has_shards() -> None:
    workers = Scripted(2)
    run(workers, a=[0], b=list(range(10)))
    assert workers.started.count("b") == 2  # the one that had teacher a made place


def test_a_lost_worker_is_replaced_and_its_shard_labelled() -> None:
    workers = Scripted(2, **{"01": [Lost("killed"), Lost("killed")]})
    assert len(run(workers, a=[0, 1, 2])) == 3
    assert len(workers.started) == 4


def test_a_shard_that_kills_its_workers_is_named() -> None:
    with pytest.raises(MukiError, match=r"part-00001.parquet with teacher a: its worker died 3 times \(killed\)"):
        run(Scripted(1, **{"01": [Lost("killed")] * 3}), a=[0, 1, 2])


def test_a_lost_machine_is_no_shards_fault() -> None:
    workers = Scripted(1, **{"01": [Lost("gone", with_machine=True)] * 9})
    assert len(run(workers, a=[0, 1, 2])) == 3


def test_an_error_stops_the_run_after_one_repeat() -> None:
    assert len(run(Scripted(1, **{"01": [Failed(ValueError("odd"))]}), a=[0, 1])) == 2
    with pytest.raises(MukiError, match=r"part-00001.parquet with teacher a: cannot be labelled \(ValueError: odd\)"):
        run(Scripted(1, **{"01": [Failed(ValueError("odd"))] * 2}), a=[0, 1])
    with pytest.raises(MukiError, match="the user's mistake"):
        run(Scripted(1, **{"01": [Failed(MukiError("the user's mistake", where="w", fix="f"))] * 2}), a=[0, 1])


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
    done = label_with(teachers, SETTINGS, layout, engine=partial(Processes, layout, 2))
    assert [summary.new_rows for summary in done.values()] == [60, 60]
    assert done["a"].throughput.texts == 60 * 3
    tables = {name: table(layout, name) for name in teachers}
    (layout.work / "labels").rename(tmp_path / "elsewhere")
    label_with(teachers, SETTINGS, layout)
    for name in teachers:
        assert table(layout, name).equals(tables[name])
    assert label_with(teachers, SETTINGS, layout, engine=partial(Processes, layout, 2))["a"].new_rows == 0


def test_a_mistake_that_a_process_finds_is_told_as_in_this_one(project: tuple[dict[str, Teacher], Layout]) -> None:
    teachers, layout = project
    model = AutoModelForSequenceClassification.from_pretrained(layout.root / "a")
    with torch.no_grad():
        model.classifier.bias[0] = float("nan")
    model.save_pretrained(layout.root / "a")
    with pytest.raises(MukiError, match="NaN or infinite") as alone:
        label_with({"a": teachers["a"]}, SETTINGS, layout)
    with pytest.raises(MukiError, match="NaN or infinite") as caught:
        label_with({"a": teachers["a"]}, SETTINGS, layout, engine=partial(Processes, layout, 2))
    assert caught.value.fix == alone.value.fix


def test_processes_make_features_too(project: tuple[dict[str, Teacher], Layout], tmp_path: Path) -> None:
    teachers, layout = project
    label_with(teachers, SETTINGS, layout)
    settings = SETTINGS.model_copy(update={"features": True})
    done = label_with(teachers, settings, layout, engine=partial(Processes, layout, 2))
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


def children() -> list[int]:
    """Processes of this one that label."""
    return [process.pid for process in active_children() if process.pid is not None]


def killing(times: int, alive: Callable[[], list[int]]) -> threading.Thread:
    """A thread that kills one worker after another."""

    def kill() -> None:
        for _ in range(times):
            while not (pids := alive()):
                time.sleep(0.05)
            time.sleep(1.0)
            for pid in pids[:1]:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue  # it ended by itself

    return threading.Thread(target=kill, daemon=True)


def test_killed_processes_lose_nothing(project: tuple[dict[str, Teacher], Layout], tmp_path: Path) -> None:
    teachers, layout = project
    killer = killing(2, children)
    killer.start()
    label_with(teachers, SETTINGS, layout, engine=partial(Processes, layout, 2))
    tables = {name: table(layout, name) for name in teachers}
    (layout.work / "labels").rename(tmp_path / "elsewhere")
    label_with(teachers, SETTINGS, layout)
    for name in teachers:
        assert table(layout, name).equals(tables[name])
    assert children() == []


@pytest.mark.slow
def test_ctrl_c_stops_all_and_keeps_what_is_finished(tmp_path: Path) -> None:
    from muki_stages import prepare

    path = tiny.save_project(tmp_path, rows=240)
    prepare.main(path)
    command = [
        sys.executable,
        "-m",
        "muki_stages.cli",
        "label",
        "--teacher",
        "all",
        "--workers",
        "2",
        "--params",
        str(path),
    ]
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
