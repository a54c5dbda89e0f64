"""Stage one on a GPU: what a Monte-Carlo pass costs there, and how fast its products are beside plain ones."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from muki_pipeline.blocks import Teacher
from muki_pipeline.config import Dtype, Label
from muki_pipeline.labelling.labeller import Labeller
from muki_pipeline.models.devices import fast_dtype
from muki_pipeline.models.teachers import locate
from tests.benchmarks.labelling import LENGTHS, PASSES, a_pass, product_operations, repeated, stock
from tests.benchmarks.measure import Row, seconds_of_each, side_by_side

BATCHES, ROUNDS = 4, 10


def on_a_gpu(folder: Path) -> list[Row]:
    """Texts a second of a pass by default, and beside the same model without dropout as transformers runs it."""
    if not torch.cuda.is_available():
        return [Row("on a GPU: all rows", None, None, note="there is no GPU")]
    device = torch.device("cuda")
    return [row for dtype in dict.fromkeys((fast_dtype(device), "float32")) for row in in_arithmetic(folder, dtype)]


@torch.inference_mode()
def in_arithmetic(folder: Path, dtype: Dtype) -> list[Row]:
    files = locate("bench", Teacher(model=str(folder)), folder)
    own = Labeller(files, Label(passes=PASSES, max_length=128, device="cuda", dtype=dtype))
    kind = getattr(torch, dtype)
    theirs = stock(folder).to("cuda", kind)
    factors = (torch.randn(8192, 8192).to("cuda", kind), torch.randn(8192, 8192).to("cuda", kind))
    rows = []
    for length in LENGTHS:
        texts, inputs = own.token_budget // length, full_batch(own.token_budget, length)
        masked = waiting(a_pass(own.network, inputs, BATCHES))
        plain = waiting(repeated(BATCHES, partial(own.network.forward, inputs, None)))
        usual = waiting(repeated(BATCHES, partial(theirs, **inputs)))
        [seconds] = seconds_of_each([masked], ROUNDS)
        product = side_by_side(waiting(repeated(BATCHES, partial(torch.matmul, *factors))), masked, ROUNDS)
        operations = product_operations(own.network.model, texts * length, length)
        what, at = f"on a GPU, {dtype}", f"{length} tokens"
        rate = product * operations / (2 * 8192**3)
        rows += [
            Row(f"{what}: texts x passes a second", None, BATCHES * texts / seconds, at),
            Row(f"{what}: MC pass / pass without dropout", 0.90, side_by_side(plain, masked, ROUNDS), at),
            Row(f"{what}: MC pass / stock model in eval()", None, side_by_side(usual, masked, ROUNDS), at),
            Row(f"{what}: product rate of a pass / of a plain product", None, rate, at),
        ]
    return rows


def full_batch(tokens: int, length: int) -> dict[str, Tensor]:
    """A batch of the labeller's size, every text of the same length."""
    draw = torch.Generator().manual_seed(0)
    ids = torch.randint(1000, 20_000, (tokens // length, length), generator=draw).cuda()
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def waiting(work: Callable[[], object]) -> Callable[[], None]:
    """The work with the GPU's part of it."""

    def run() -> None:
        work()
        torch.cuda.synchronize()

    return run
