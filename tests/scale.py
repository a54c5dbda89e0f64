"""What grows with rows, and what breaks when workers die: `make scale`, bounded to 20 minutes on 2 cores.

Rows: each command in a process of its own on 10^4 to 10^6 rows (10^7 too where SCALE_MANY is set), seconds and peak
memory. Workers: one labelling by 1 to 8 of them; then the tests of engines, buckets and several processes, with 20
workers and 10 nodes of a Ray cluster killed, and its head.
"""

import logging
import os
import shutil
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table

from muki_pipeline import config
from muki_pipeline.config import Prepare, Source
from muki_pipeline.corpus.ids import place_of
from muki_pipeline.corpus.prepare import prepare
from muki_pipeline.corpus.table import corpus_shards, read_corpus_shard
from muki_pipeline.engines.loop import Engine
from muki_pipeline.engines.processes import Processes
from muki_pipeline.engines.ray import RayWorkers
from muki_pipeline.integration.integrate import integrate
from muki_pipeline.labelling.run import label_with
from muki_pipeline.layout import Layout
from muki_pipeline.models.tokenizers import load_tokenizer
from muki_pipeline.training.student.golden_rows import read_tokens, write_tokens
from tests import tiny
from tests.benchmarks.integration import SHARD, write_project
from tests.benchmarks.measure import in_a_process

TESTS = (
    "tests/pipeline/engines/test_ray.py",
    "tests/pipeline/labelling/test_ray.py",
    "tests/pipeline/labelling/test_engines.py",
    "tests/pipeline/integration/engines/test_ray.py",
    "tests/pipeline/tables/test_bucket.py",
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
    place_of(layout, read_corpus_shard(layout.corpus, last)["id"][0].as_py())


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


def rows_table(sizes: list[int]) -> Table:
    """Seconds and peak memory against rows."""
    table = Table(title="Seconds and peak memory (MiB) against rows")
    table.add_column("what")
    for size in sizes:
        table.add_column(f"{size:,} rows", justify="right")
    cells: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        model = tiny.save_teacher(Path(temporary) / "model", ["a", "b"])
        for size in sizes:
            root = Path(temporary) / str(size)
            write_texts(root / "texts", size)
            write_project(root / "tables", size)
            works = {
                "prepare": (run_prepare, str(root)),
                "inspect --id, the first (makes the index)": (run_lookup, str(root)),
                "integrate, the paper's rule": (run_integrate, str(root / "tables")),
                "train-student, its tokens": (run_tokens, str(root / "tables"), str(model)),
            }
            for name, (work, *arguments) in works.items():
                found = in_a_process(work, *arguments)
                cells.setdefault(name, []).append(f"{found.seconds:.1f} s, {found.peak:,.0f}")
                print(
                    f"{size:,} rows, {name}: {found.seconds:.2f} s, {found.peak:,.0f} MiB", file=sys.stderr, flush=True
                )
            layout = Layout(root)
            wanted = read_corpus_shard(layout.corpus, corpus_shards(layout.corpus)[-1])["id"][0].as_py()
            found = in_a_process(run_lookup_alone, str(root), wanted)
            cells.setdefault("inspect --id, later", []).append(f"{found.seconds:.2f} s, {found.peak:,.0f}")
    for name, values in cells.items():
        table.add_row(name, *values)
    return table


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


def workers_table(counts: list[int]) -> Table:
    """Seconds of one labelling against workers, with the time that they take to start."""
    table = Table(title=f"Seconds to label 1,600 texts in 16 shards, on {os.cpu_count()} cores")
    for heading in ("engine", *(f"{count} workers" for count in counts)):
        table.add_column(heading)
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        path = tiny.save_project(
            root, 1600, {"one": ["a", "b"]}, label={"passes": 5, "max_length": 32, "dtype": "float32"}
        )
        shape = {"hidden_size": 192, "intermediate_size": 768, "num_hidden_layers": 4, "num_attention_heads": 4}
        tiny.save_teacher(root / "models" / "one", ["a", "b"], **shape)
        params, layout = config.load(path)
        prepare(params.prepare.model_copy(update={"shard_rows": 100}), layout)
        for engine in ("processes", "Ray"):
            seconds = []
            for count in counts:
                shutil.rmtree(layout.work, ignore_errors=True)
                seconds.append(in_a_process(run_label, str(root), engine, count).seconds)
                print(f"{engine}, {count} workers: {seconds[-1]:.1f} s", file=sys.stderr, flush=True)
            table.add_row(engine, *(f"{each:.1f}" for each in seconds))
    return table


def main() -> None:
    """Print the tables, then run the tests; ends with their exit code."""
    sizes = [10_000, 100_000, 1_000_000] + ([10_000_000] if "SCALE_MANY" in os.environ else [])
    console = Console(width=140)
    console.print(rows_table(sizes))
    console.print(workers_table([1, 2, 4, 8]))
    command = [sys.executable, "-m", "pytest", "-q", "--durations=12", *TESTS]
    sys.exit(subprocess.run(command, env=os.environ | KILLS, check=False).returncode)


if __name__ == "__main__":
    main()
