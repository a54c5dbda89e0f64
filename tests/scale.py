"""What grows with rows, and what breaks when workers die: `make scale`, bounded to 20 minutes on 2 cores.

Rows: each command in a process of its own on 10^4 to 10^6 rows (10^7 too where SCALE_MANY is set), seconds and peak
memory. Workers: one labelling by 1 to 8 of them; then the tests of engines, buckets and several processes, with 20
workers and 10 nodes of a Ray cluster killed, and its head. Each part writes a file of results/scale/.
"""

import logging
import os
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from experiments.record import Recorder
from muki_pipeline import config
from muki_pipeline.blocks import Source
from muki_pipeline.config import Prepare
from muki_pipeline.corpus.ids import place_of
from muki_pipeline.corpus.prepare import prepare
from muki_pipeline.corpus.table import corpus_shards, read_corpus_shard
from muki_pipeline.engines.loop import Engine
from muki_pipeline.engines.processes import Processes
from muki_pipeline.engines.ray import RayWorkers
from muki_pipeline.labelling.run import label_with
from muki_pipeline.layout import Layout
from muki_pipeline.models.tokenizers import load_tokenizer
from muki_pipeline.supervision.integrate import integrate
from muki_pipeline.training.student.golden_rows import read_tokens, write_tokens
from tests import tiny
from tests.benchmarks.integration import SHARD, write_project
from tests.benchmarks.measure import in_a_process

TESTS = (
    "tests/pipeline/engines/test_ray.py",
    "tests/pipeline/labelling/test_ray.py",
    "tests/pipeline/labelling/test_engines.py",
    "tests/pipeline/supervision/test_ray.py",
    "tests/pipeline/store/test_bucket.py",
    "tests/pipeline/training/test_processes.py",
)
KILLS = {"MUKI_SCALE": "1", "MUKI_WORKER_KILLS": "20", "MUKI_NODE_KILLS": "10"}


def write_texts(folder: Path, rows: int) -> None:
    """Parquet files of 100-byte texts, every tenth of them twice."""
    drawn, words = np.random.default_rng(0), np.array([f"word{number:04d}" for number in range(2000)])
    folder.mkdir(parents=True)
    for number in range(-(-rows // SHARD)):
        count = min(SHARD, rows - number * SHARD)
        texts = [" ".join(chosen) for chosen in words[drawn.integers(0, 2000, (count, 11))]]
        texts[9::10] = texts[: len(texts[9::10])]
        pl.DataFrame({"text": texts}).write_parquet(folder / f"{number:05d}.parquet")


def run_prepare(root: str) -> None:
    prepare(Prepare(corpus=Source(source="texts/*.parquet", text="text")), Layout(Path(root)))


def run_lookup(root: str) -> None:
    layout = Layout(Path(root))
    [*_, last] = corpus_shards(layout.corpus)
    place_of(layout, read_corpus_shard(last)["id"][0].as_py())


def run_lookup_alone(root: str, wanted: str) -> None:
    place_of(Layout(Path(root)), wanted)


def run_integrate(root: str) -> None:
    params, layout = config.load(Path(root) / "params.yaml")
    integrate(params, layout, layout.golden)


def run_tokens(root: str, tokenizer: str) -> int:
    layout, path = Layout(Path(root)), Path(root) / "tokens.arrow"
    write_tokens(layout.golden, ["target", "weight"], load_tokenizer(Path(tokenizer), tokenizer), 32, path)
    data = read_tokens(path)
    return sum(len(data[row]["input_ids"]) for row in range(0, len(data), max(len(data) // 100, 1)))


def against_rows(sizes: list[int]) -> list[dict[str, Any]]:
    """Seconds and peak memory of each command on so many rows."""
    found = []

    def measure(what: str, rows: int, work: Callable[..., object], *arguments: str) -> None:
        done = in_a_process(work, *arguments)
        found.append({"what": what, "rows": rows, "seconds": done.seconds, "peak_mib": done.peak})
        print(f"{rows:,} rows, {what}: {done.seconds:.2f} s, {done.peak:,.0f} MiB", file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory() as temporary:
        model = tiny.save_teacher(Path(temporary) / "model", ["a", "b"])
        for size in sizes:
            root = Path(temporary) / str(size)
            write_texts(root / "texts", size)
            write_project(root / "tables", size)
            measure("prepare, from Parquet", size, run_prepare, str(root))
            measure("inspect --id, the first (makes the index)", size, run_lookup, str(root))
            wanted = read_corpus_shard(corpus_shards(Layout(root).corpus)[-1])["id"][0].as_py()
            measure("inspect --id, later", size, run_lookup_alone, str(root), wanted)
            measure("integrate, the paper's rule", size, run_integrate, str(root / "tables"))
            measure("train-student, its tokens", size, run_tokens, str(root / "tables"), str(model))
    return found


def run_label(root: str, engine: str, workers: int) -> None:
    params, layout = config.load(Path(root) / "params.yaml")
    made: dict[str, Engine] = {
        "processes": partial(Processes, workers),
        "Ray": partial(RayWorkers, None, workers),
    }
    if engine == "Ray":
        import ray

        # Ray gives a worker a core of its own: here it believes that there are as many.
        ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    label_with(params.teachers, params.label, layout, engine=made[engine])


def against_workers(counts: list[int]) -> list[dict[str, Any]]:
    """Seconds of one labelling by so many workers, with the time that they take to start."""
    found = []
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        path = tiny.save_project(
            root, 1600, {"one": ["a", "b"]}, label={"passes": 5, "max_length": 32, "dtype": "float32"}
        )
        shape = {"hidden_size": 192, "intermediate_size": 768, "num_hidden_layers": 4, "num_attention_heads": 4}
        tiny.save_teacher(root / "models" / "one", ["a", "b"], **shape)
        params, layout = config.load(path)
        prepare(params.prepare.model_copy(update={"shard_rows": 100}), layout)
        for engine, count in product(("processes", "Ray"), counts):
            shutil.rmtree(layout.work, ignore_errors=True)
            seconds = in_a_process(run_label, str(root), engine, count).seconds
            found.append({"engine": engine, "workers": count, "seconds": seconds})
            print(f"{engine}, {count} workers: {seconds:.1f} s", file=sys.stderr, flush=True)
    return found


def run_tests() -> tuple[int, dict[str, Any]]:
    """The tests of engines, buckets and several processes, at length; their exit code, and the outcome of each."""
    with tempfile.TemporaryDirectory() as temporary:
        report = Path(temporary) / "tests.xml"
        command = [sys.executable, "-m", "pytest", "-q", "--durations=12", f"--junitxml={report}", *TESTS]
        code = subprocess.run(command, env=os.environ | KILLS, check=False).returncode
        cases = [
            {"test": case.attrib["name"], "seconds": float(case.attrib["time"]), "outcome": outcome(case)}
            for case in ET.parse(report).iter("testcase")
        ]
    kills = {name.removeprefix("MUKI_").lower(): int(KILLS[name]) for name in ("MUKI_WORKER_KILLS", "MUKI_NODE_KILLS")}
    return code, {**kills, "tests": cases}


def outcome(case: ET.Element) -> str:
    """Of a test: what its JUnit element holds, or that it passed."""
    return next((child.tag for child in case if child.tag in ("failure", "error", "skipped")), "passed")


def main() -> int:
    """Measure the three parts and write them; returns the exit code of the tests."""
    sizes = [10_000, 100_000, 1_000_000] + ([10_000_000] if "SCALE_MANY" in os.environ else [])
    recorder = Recorder()
    recorder.write("scale/rows", {"rows": against_rows(sizes)}, seconds=recorder.lap(), seeds=[0])
    recorder.write("scale/workers", {"rows": against_workers([1, 2, 4, 8])}, seconds=recorder.lap(), seeds=[0])
    code, tests = run_tests()
    recorder.write("scale/kills", tests, seconds=recorder.lap())
    return code


if __name__ == "__main__":
    sys.exit(main())
