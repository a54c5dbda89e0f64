"""Labelling on a Ray cluster of several nodes on this machine: workers and nodes are killed."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import polars as pl
import psutil
import pytest

from muki_pipeline import config
from muki_pipeline.blocks import Teacher
from muki_pipeline.config import Label
from muki_pipeline.corpus.table import with_ids, write_corpus, write_corpus_parts
from muki_pipeline.engines.ray import RayWorkers
from muki_pipeline.errors import MukiError
from muki_pipeline.labelling.labeller import Labeller
from muki_pipeline.labelling.run import label_with
from muki_pipeline.labelling.store import StoredTeacher
from muki_pipeline.layout import Layout
from muki_pipeline.store.table import Table
from muki_stages import prepare
from tests import tiny
from tests.marks import at_length

SETTINGS = Label(passes=2, max_length=20, device="cpu", dtype="float32", features=True)
pytestmark = pytest.mark.slow


def save(root: Path, texts: int, bucket: str | None = None) -> tuple[dict[str, Teacher], Layout]:
    layout = Layout(root, bucket)
    write_corpus_parts(layout.store(layout.corpus), [[with_ids(pl.DataFrame({"text": tiny.texts(texts)}))]], 4)
    for seed, name in enumerate("ab"):
        tiny.save_teacher(root / name, ["x", "y", "z"], seed=seed)
    return {name: Teacher(model=name) for name in "ab"}, layout


def shards_of(folder: Path) -> list[Any]:
    return [shard.read() for shard in Table.open(folder, "").shards]


def same_as_here(teachers: Mapping[str, Teacher], layout: Layout, settings: Label = SETTINGS) -> bool:
    """Whether this process makes the same tables, bit for bit."""
    here = Layout(layout.root / "here")
    (here.root / "data").mkdir(parents=True)
    (here.corpus).symlink_to(layout.corpus, target_is_directory=True)
    for teacher in teachers.values():
        (here.root / teacher.model).parent.mkdir(parents=True, exist_ok=True)
        (here.root / teacher.model).symlink_to(layout.root / teacher.model, target_is_directory=True)
    label_with(teachers, settings, here)
    return all(
        one.equals(other)
        for name in teachers
        for table in (Layout.labels, *([Layout.features] if settings.features else []))
        for one, other in zip(shards_of(table(layout, name)), shards_of(table(here, name)), strict=True)
    )


def test_a_cluster_makes_the_same_tables(cluster: Any, tmp_path: Path) -> None:
    teachers, layout = save(tmp_path, 40)
    done = label_with(teachers, SETTINGS, layout, engine=partial(RayWorkers, None, 2))
    assert [each.new_rows for each in done.values()] == [40, 40]
    assert same_as_here(teachers, layout)
    again = label_with(teachers, SETTINGS, layout, engine=partial(RayWorkers, None, 2))
    assert [each.new_rows for each in again.values()] == [0, 0]


@at_length
def test_tables_in_a_bucket(cluster: Any, s3: str, tmp_path: Path) -> None:
    import ray

    # The nodes began before this test's environment: a worker gets it as on any cluster.
    environment = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    ray.shutdown()
    ray.init(address=cluster.address, log_to_driver=False, logging_level=40, runtime_env={"env_vars": environment})
    teachers, layout = save(tmp_path, 20, s3)
    label_with(teachers, SETTINGS, layout, engine=partial(RayWorkers, None, 2))
    assert not list((tmp_path / "data").rglob("*.parquet"))
    assert same_as_here(teachers, layout)


class Counting(Labeller):
    """Notes every shard that it labels, so that a test can see what was done twice."""

    def label(self, table: Any, task: Any = None) -> Any:
        labels = super().label(table)
        with (self.files.folder.parent / "labelled.txt").open("a") as file:
            file.write(f"{self.files.name} {table['id'][0]}\n")
        return labels


class CountingTeacher(StoredTeacher):
    @cached_property
    def labeller(self) -> Labeller:
        return Counting(self.files, self.settings)


def kill_a_worker() -> bool:
    """Kill a worker of this process's own cluster, and of no other on this machine; whether there was one."""
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # it has just ended
            if any("ray::_Worker" in word for word in process.cmdline()):
                process.kill()
                return True
    return False


def run_with_kills(
    kill: Callable[[], bool], times: int, teachers: dict[str, Teacher], layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """Label in a thread and kill beside it, each time when two more shards are done: it kills work, not starts.

    Killing is for the main thread, because Ray's nodes end with the thread that started them.

    Returns:
        What was labelled, once for each time.
    """
    monkeypatch.setattr("muki_pipeline.labelling.arithmetic.StoredTeacher", CountingTeacher)
    labelled, kills = layout.root / "labelled.txt", 0
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(label_with, teachers, SETTINGS, layout, engine=partial(RayWorkers, None, 2))
        while not running.done():
            time.sleep(0.05)
            done = len(labelled.read_text().splitlines()) if labelled.exists() else 0
            if kills < times and done >= 2 * (kills + 1) and kill():
                kills += 1
        running.result()
    assert kills == times
    return (layout.root / "labelled.txt").read_text().splitlines()


@pytest.mark.parametrize("times", [int(os.environ.get("MUKI_WORKER_KILLS", "1"))])
def test_killed_workers(cluster: Any, tmp_path: Path, times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    teachers, layout = save(tmp_path, 160 + 40 * times)
    done = run_with_kills(kill_a_worker, times, teachers, layout, monkeypatch)
    monkeypatch.undo()
    assert len(set(done)) == 2 * (40 + 10 * times)
    assert len(done) - len(set(done)) <= times  # killed between the work and its name, at most
    assert same_as_here(teachers, layout)


@at_length
@pytest.mark.parametrize("times", [int(os.environ.get("MUKI_NODE_KILLS", "1"))])
def test_killed_nodes(cluster: Any, tmp_path: Path, times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    teachers, layout = save(tmp_path, 160 + 40 * times)

    def kill_a_node() -> bool:
        node = next(iter(cluster.worker_nodes))
        cluster.remove_node(node, allow_graceful=False)
        cluster.add_node(num_cpus=1)
        return True

    done = run_with_kills(kill_a_node, times, teachers, layout, monkeypatch)
    monkeypatch.undo()
    assert len(set(done)) == 2 * (40 + 10 * times)
    assert len(done) - len(set(done)) <= times
    assert same_as_here(teachers, layout)


class Poisoned(Labeller):
    def label(self, table: Any, task: Any = None) -> Any:
        if "poison" in table["text"].to_pylist():
            os._exit(9)
        return super().label(table)


class PoisonedTeacher(StoredTeacher):
    @cached_property
    def labeller(self) -> Labeller:
        return Poisoned(self.files, self.settings)


@at_length
def test_a_shard_that_kills_workers_is_named(cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    teachers, layout = save(tmp_path, 4)
    write_corpus(layout.corpus, with_ids(pl.DataFrame({"text": [*tiny.texts(20), "poison"]})), 4)
    monkeypatch.setattr("muki_pipeline.labelling.arithmetic.StoredTeacher", PoisonedTeacher)
    with pytest.raises(MukiError, match=r"part-00005\.parquet with teacher a: its worker died 3 times"):
        label_with({"a": teachers["a"]}, SETTINGS, layout, engine=partial(RayWorkers, None, 1))
    stored = list((layout.work / "labels").glob("*.parquet"))
    assert len(stored) == 5  # what is finished stays


def kill(running: subprocess.Popen[Any]) -> None:
    """Kill a process with all that it started."""
    processes = [psutil.Process(running.pid), *psutil.Process(running.pid).children(recursive=True)]
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    running.wait()


def start_head(port: int, environment: dict[str, str]) -> subprocess.Popen[Any]:
    """A Ray cluster of one machine, which ends with this process."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", f"--port={port}"]
    head = subprocess.Popen(
        [*command, "--num-cpus=1", "--include-dashboard=false"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for _ in range(600):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return head
        time.sleep(0.1)
    kill(head)
    raise TimeoutError(f"no Ray cluster at port {port} after a minute")


@at_length
def test_a_lost_head_loses_no_finished_shard(tmp_path: Path) -> None:
    """The machine that keeps the cluster's books dies: Ray ends the command, and a rerun on a new head goes on."""
    path = tiny.save_project(tmp_path, rows=400, label={"passes": 40, "max_length": 20, "dtype": "float32"})
    params, layout = config.load(path)
    teachers = params.teachers
    prepare.main(path)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"RAY_gcs_rpc_server_reconnect_timeout_s": "5", "OMP_NUM_THREADS": "1"}
    environment["RAY_AUTH_MODE"] = "disabled"  # else a token that an earlier cluster left at home decides
    label = [sys.executable, "-m", "muki_stages.cli", "label", "--teacher", "all", "--engine", "ray"]
    label += ["--address", f"127.0.0.1:{port}", "--params", str(path)]
    head = start_head(port, environment)
    try:
        running = subprocess.Popen(label, env=environment, stderr=subprocess.PIPE, text=True)
        while len(finished := list((layout.work / "labels").glob("*.parquet"))) < 2:
            assert running.poll() is None, running.communicate()[1]
            time.sleep(0.05)
        kill(head)
        running.communicate(timeout=240)
        assert running.returncode != 0
        before = {file: file.stat().st_mtime_ns for file in finished}
        head = start_head(port, environment)
        again = subprocess.run(label, env=environment, capture_output=True, text=True, check=False, timeout=300)
        assert again.returncode == 0, again.stderr
        assert {file: file.stat().st_mtime_ns for file in finished} == before
        assert same_as_here(teachers, layout, params.label)
    finally:
        if head.poll() is None:
            kill(head)
