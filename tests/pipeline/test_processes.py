import os

import pytest

from muki_pipeline.processes import usable_cores


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system gives no process some of its cores")
def test_cores_that_a_scheduler_keeps_from_the_process_are_not_counted() -> None:
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert usable_cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)
    assert usable_cores() == len(allowed)
