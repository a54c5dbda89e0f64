"""Work without state on a Ray cluster of several nodes on this machine."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from muki_pipeline.engines.loop import run, run_each
from muki_pipeline.engines.ray import RayWorkers
from muki_pipeline.errors import MukiError
from tests.marks import at_length
from tests.pipeline.engines.test_run import SHARDS, always_dies, dies_once, refuses

pytestmark = pytest.mark.slow


def test_the_shard_of_a_lost_worker_goes_to_another(cluster: Any, tmp_path: Path) -> None:
    found: list[tuple[int, int]] = []
    run_each(partial(dies_once, tmp_path), SHARDS, RayWorkers, lambda *done: found.append(done))
    assert sorted(found) == [(number, number**2) for number in range(SHARDS)]
    assert (tmp_path / "1").exists()


def test_an_error_arrives_as_it_was_raised(cluster: Any) -> None:
    with pytest.raises(MukiError, match=r"^the fourth: cannot be read\. Correct it\.$"):
        run(refuses, SHARDS, RayWorkers)


@at_length
def test_work_that_kills_every_worker_is_named(cluster: Any) -> None:
    with pytest.raises(MukiError, match=r"shard part-00000\.parquet: its worker died 3 times"):
        run(always_dies, 1, RayWorkers)


def test_no_cluster_is_one_line() -> None:
    import ray

    ray.shutdown()
    with pytest.raises(MukiError, match="there is no Ray cluster"):
        RayWorkers("127.0.0.1:1")


def test_without_an_address_another_cluster_of_the_machine_is_left_alone(cluster: Any) -> None:
    import ray

    ray.shutdown()
    workers = RayWorkers(workers=1)
    mine = ray.get_runtime_context().gcs_address
    workers.close([])
    assert mine != cluster.address
