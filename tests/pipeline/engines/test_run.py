"""The same work on every engine of this machine."""

import multiprocessing
import os
import signal
import threading
from functools import partial
from pathlib import Path

import pytest

from muki_pipeline.engines import machine
from muki_pipeline.engines.local import ThisProcess, Threads
from muki_pipeline.engines.loop import Engine, run, run_each
from muki_pipeline.engines.machine import usable_cores, usable_memory
from muki_pipeline.engines.processes import Processes
from muki_pipeline.errors import MukiError

SHARDS = 6
ENGINES = {"this process": ThisProcess, "threads": Threads, "processes": partial(Processes, 2)}
engines = pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)


def square(number: int) -> int:
    return number**2


def refuses(number: int) -> int:
    if number == 3:
        raise MukiError("cannot be read", where="the fourth", fix="Correct it")
    return number


def dies_once(folder: Path, number: int) -> int:
    """Work whose worker dies the first time, in one of the shards."""
    tried = folder / str(number)
    if number == 1 and not tried.exists():
        tried.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return square(number)


def always_dies(number: int) -> int:
    os._exit(9)


@engines
def test_results_are_in_order_and_every_shard_is_reported(engine: Engine) -> None:
    assert run(square, SHARDS, engine) == [number**2 for number in range(SHARDS)]
    reported: dict[int, int] = {}
    run_each(square, SHARDS, engine, reported.__setitem__)
    assert reported == {number: number**2 for number in range(SHARDS)}


@engines
def test_an_error_arrives_as_it_was_raised(engine: Engine) -> None:
    with pytest.raises(MukiError, match=r"^the fourth: cannot be read\. Correct it\.$"):
        run(refuses, SHARDS, engine)


def test_threads_work_at_the_same_time() -> None:
    if usable_cores() < 2:
        pytest.skip("one core has one thread")
    both = threading.Barrier(2, timeout=30)
    assert sorted(run(lambda number: both.wait(), 2, Threads)) == [0, 1]  # each waits for the other


def test_a_killed_process_loses_nothing(tmp_path: Path) -> None:
    work = partial(dies_once, tmp_path)
    assert run(work, SHARDS, partial(Processes, 2)) == [number**2 for number in range(SHARDS)]
    assert (tmp_path / "1").exists()
    assert multiprocessing.active_children() == []


def test_work_that_kills_its_processes_is_named() -> None:
    with pytest.raises(MukiError, match=r"shard part-00000\.parquet: its worker died 3 times \(exit code 9\)"):
        run(always_dies, 1, partial(Processes, 1))


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system gives no process some of its cores")
def test_cores_that_a_scheduler_keeps_from_the_process_are_not_counted() -> None:
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert usable_cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)
    assert usable_cores() == len(allowed)


def test_the_limits_of_a_container_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cores, memory = usable_cores(), usable_memory()
    monkeypatch.setattr(machine, "_GROUP", tmp_path)
    for name, unlimited, limited in (("cpu.max", "max 100000", "50000 100000"), ("memory.max", "max", "4096")):
        (tmp_path / name).write_text(f"{unlimited}\n")
        assert (usable_cores(), usable_memory()) == (cores, memory)
        (tmp_path / name).write_text(f"{limited}\n")
        assert usable_cores() == 1
        cores = 1
    assert usable_memory() == 4096
    (tmp_path / "memory.max").unlink()
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "memory.limit_in_bytes").write_text("8192\n")
    assert usable_memory() == 8192
