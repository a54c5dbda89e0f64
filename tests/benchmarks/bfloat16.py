"""Stage one in bfloat16: what a pass costs, its products, and other engines that run the same teacher."""

from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import onnxruntime
import torch

from pipeline.deployment.onnx import Logits
from pipeline.models.devices import fast_dtype
from tests.benchmarks.labelling import (
    BATCHES,
    LENGTHS,
    ROUNDS,
    a_pass,
    against_a_pass,
    arithmetic,
    full_batch,
    ours,
    product_share,
    repeated,
    stock,
)
from tests.benchmarks.measure import Row, over_processes, side_by_side

Engine = Callable[[dict[str, Any]], object]


def bfloat16_passes(folder: Path) -> list[Row]:
    """The same in bfloat16: the cost of a pass, its products, and other engines."""
    what = "in bfloat16: "
    if fast_dtype(torch.device("cpu")) != "bfloat16":
        return [Row(f"{what}all rows", None, None, note="this machine is not faster in bfloat16")]
    own = over_processes(against_a_pass, folder, False, "bfloat16")
    rows = [
        Row(f"{what}MC pass / pass without dropout, {length} tokens", 0.90, ratio)
        for length, ratio in zip(LENGTHS, own, strict=True)
    ]
    return rows + product_share(folder, "bfloat16") + against_engines(folder)


@torch.inference_mode()
def against_engines(folder: Path) -> list[Row]:
    """A Monte-Carlo pass by default against other engines that run the same teacher without dropout."""
    path = folder / "engine.onnx"
    names = ["input_ids", "attention_mask"]
    axes = {0: torch.export.Dim("texts"), 1: torch.export.Dim("tokens")}
    torch.onnx.export(
        Logits(stock(folder), names),
        tuple(full_batch(64)[name] for name in names),
        str(path),
        input_names=names,
        output_names=["logits"],
        dynamic_shapes=((axes, axes),),
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    engines = {"ONNX Runtime, float32": onnx_runtime(path), "OpenVINO, its default precision": open_vino(path)}
    network = ours(folder, dtype="bfloat16")
    rows = []
    for length, (name, engine) in product((15, 48, 128), engines.items()):
        what = f"MC pass by default / {name} without dropout, {length} tokens"
        if engine is None:
            rows.append(Row(what, 0.90, None, note="not installed"))
            continue
        inputs = full_batch(length)
        arrays = {each: tensor.numpy() for each, tensor in inputs.items()}
        with arithmetic("bfloat16"):
            masked = a_pass(network, inputs)
            rows.append(Row(what, 0.90, side_by_side(repeated(BATCHES, partial(engine, arrays)), masked, ROUNDS)))
    return rows


def onnx_runtime(path: Path) -> Engine:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda inputs: session.run(["logits"], inputs)


def open_vino(path: Path) -> Engine | None:
    try:
        import openvino
    except ImportError:
        return None
    compiled = openvino.Core().compile_model(str(path), "CPU", {"PERFORMANCE_HINT": "LATENCY"})
    return lambda inputs: compiled(inputs)
