"""A Monte-Carlo pass against other engines that run the same teacher without dropout."""

from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import onnxruntime
import torch

from muki_pipeline.deployment.onnx import Logits
from muki_pipeline.models.devices import fast_dtype
from tests.benchmarks.labelling import BATCHES, ROUNDS, a_pass, full_batch, ours, repeated, stock
from tests.benchmarks.measure import Row, side_by_side

Engine = Callable[[dict[str, Any]], object]


@torch.inference_mode()
def against_engines(folder: Path) -> list[Row]:
    """Texts a second of a pass in the arithmetic that `label` takes by default over those of an engine."""
    path = folder / "engine.onnx"
    names = ["input_ids", "attention_mask"]
    axes = {0: torch.export.Dim("texts"), 1: torch.export.Dim("tokens")}
    torch.onnx.export(
        Logits(stock(folder), names).eval(),
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
    dtype = fast_dtype(torch.device("cpu"))
    network = ours(folder, dtype=dtype)
    rows = []
    for length, (name, engine) in product((15, 48, 128), engines.items()):
        what, at = f"MC pass by default / {name} without dropout", f"{length} tokens"
        if engine is None:
            rows.append(Row(what, 0.90, None, at, note="pip install openvino"))
            continue
        inputs = full_batch(length)
        arrays = {each: tensor.numpy() for each, tensor in inputs.items()}
        masked = a_pass(network, inputs)
        theirs = repeated(BATCHES, partial(engine, arrays))
        rows.append(Row(what, 0.90, side_by_side(theirs, masked, ROUNDS), at))
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
