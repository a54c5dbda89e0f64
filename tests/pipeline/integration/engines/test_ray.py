"""Integration on a Ray cluster of several nodes on this machine: workers and nodes are lost."""

import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from muki_pipeline import config
from muki_pipeline.engines.ray import connect
from muki_pipeline.errors import MukiError
from muki_pipeline.integration.engines.ray import RayTasks, ray_tasks
from muki_pipeline.integration.engines.threads import Kept
from muki_pipeline.integration.integrate import integrate
from tests import tiny
from tests.marks import at_length

SHARDS = 6
pytestmark = pytest.mark.slow


def square(number: int) -> tuple[int, Kept]:
    return number**2, np.full(100_000, number, np.float32)  # Ray sends small results along, and loses none of them


def dies_once(folder: Path, number: int) -> tuple[int, Kept]:
    """Work whose worker dies the first time, in one of the shards."""
    tried = folder / str(number)
    if number == 1 and not tried.exists():
        tried.touch()
        os._exit(9)
    return square(number)


def always_dies(number: int) -> int:
    os._exit(9)


def add(number: int, kept: Kept) -> float:
    return float(number + kept.mean())


def test_a_cluster_makes_the_same_golden_table(cluster: Any, tmp_path: Path) -> None:
    path = tiny.save_project(
        tmp_path, integrate={}, embed={"model": "models/base", "max_length": 64}
    )  # the gate, as by default
    tiny.label(path)
    params, layout = config.load(path)
    here, there = (tmp_path / name for name in ("here", "there"))
    done = integrate(params, layout, here)
    assert integrate(params, layout, there, engine=partial(ray_tasks, None)) == done
    names = sorted(file.name for file in here.iterdir())
    assert len([name for name in names if name.endswith(".parquet")]) == 4
    assert sorted(file.name for file in there.iterdir()) == names
    assert all((here / name).read_bytes() == (there / name).read_bytes() for name in names)

    [shard] = (layout.labels("one")).glob("part-00002*.parquet")
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.unlink()
    shard.write_bytes(content)
    with pytest.raises(MukiError) as alone:
        integrate(params, layout, here)
    with pytest.raises(MukiError) as caught:
        integrate(params, layout, there, engine=partial(ray_tasks, None))
    assert str(caught.value) == str(alone.value)
    assert "part-00002" in str(caught.value)


def test_the_shard_of_a_lost_worker_goes_to_another(cluster: Any, tmp_path: Path) -> None:
    tasks = RayTasks(connect(None))
    told: list[int] = []
    assert tasks.run_and_keep(partial(dies_once, tmp_path), SHARDS, told.append) == [n**2 for n in range(SHARDS)]
    assert sorted(told) == list(range(SHARDS))
    assert (tmp_path / "1").exists()
    assert tasks.run_with_kept(add, SHARDS, told.append) == [2 * n for n in range(SHARDS)]


@at_length
def test_arrays_that_are_lost_with_their_machines_are_made_again(cluster: Any) -> None:
    tasks = RayTasks(connect(None))
    told: list[int] = []
    tasks.run_and_keep(square, SHARDS, told.append)
    for node in list(cluster.worker_nodes):
        cluster.remove_node(node, allow_graceful=False)
        cluster.add_node(num_cpus=1)
    assert tasks.run_with_kept(add, SHARDS, told.append) == [2 * n for n in range(SHARDS)]


@at_length
def test_work_that_kills_every_worker_is_named(cluster: Any) -> None:
    with pytest.raises(MukiError, match=r"shard part-00000\.parquet: its worker died again and again"):
        RayTasks(connect(None)).run(always_dies, 1)
