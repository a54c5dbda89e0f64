"""How a process keeps freed memory."""

import subprocess
import sys

import pytest

FAULTS = """
import resource
{first}
import torch

def touch():
    for _ in range(100):
        torch.zeros(3 << 18)

touch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
touch()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(first: str) -> int:
    """Page faults of a hundred buffers of 3 MB, one after the other, when a hundred have been there before."""
    code = FAULTS.format(first=first)
    return int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's malloc")
def test_memory_of_an_activation_is_used_for_the_next() -> None:
    assert (
        page_faults("from muki_pipeline.labelling.network.allocator import keep_freed_memory; keep_freed_memory()") < 10
    )
    # Huge pages alone cost more than they bring.
    assert page_faults("import os; os.environ['THP_MEM_ALLOC_ENABLE'] = '1'") > 100


def test_importing_changes_nothing_about_the_process() -> None:
    module = "muki_pipeline.labelling.network.allocator"
    code = f"import os; old = dict(os.environ); import muki_pipeline, {module}; print(old == os.environ)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "True"
