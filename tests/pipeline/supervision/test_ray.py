"""Integration on a Ray cluster of several nodes on this machine."""

from pathlib import Path
from typing import Any

import pytest

from muki_pipeline import config
from muki_pipeline.engines.ray import RayWorkers
from muki_pipeline.errors import MukiError
from muki_pipeline.supervision.integrate import integrate
from tests import tiny

pytestmark = pytest.mark.slow


def test_a_cluster_makes_the_same_golden_table(cluster: Any, tmp_path: Path) -> None:
    # The gate, as by default.
    path = tiny.save_project(tmp_path, integrate={}, embed={"model": "models/base", "max_length": 64})
    tiny.label(path)
    params, layout = config.load(path)
    here, there = (tmp_path / name for name in ("here", "there"))
    done = integrate(params, layout, here)
    assert integrate(params, layout, there, engine=RayWorkers) == done
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
        integrate(params, layout, there, engine=RayWorkers)
    assert str(caught.value) == str(alone.value)
    assert "part-00002" in str(caught.value)
