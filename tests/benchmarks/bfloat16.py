"""Stage one in bfloat16: what a pass costs, and its products."""

from pathlib import Path

import torch

from muki_pipeline.models.devices import fast_dtype
from tests.benchmarks.labelling import LENGTHS, against_a_pass, product_share
from tests.benchmarks.measure import Row, over_processes


def bfloat16_passes(folder: Path) -> list[Row]:
    """The cost of a pass and its products, where the machine multiplies bfloat16 faster."""
    if fast_dtype(torch.device("cpu")) != "bfloat16":
        return [Row("in bfloat16: all rows", None, None, note="this machine is not faster in bfloat16")]
    own = over_processes(against_a_pass, folder, False, "bfloat16")
    rows = [
        Row("in bfloat16: MC pass / pass without dropout", 0.90, ratio, f"{length} tokens")
        for length, ratio in zip(LENGTHS, own, strict=True)
    ]
    return rows + product_share(folder, "bfloat16")
