"""What grows with rows, and what breaks when workers die: `make scale`, bounded to 20 minutes on 2 cores.

Rows: each command in a process of its own on 10^4 to 10^6 rows (10^7 too where SCALE_MANY is set), seconds and peak
memory. Workers: the tests of engines, buckets and several processes, with 20 workers and 10 nodes of a Ray cluster
killed.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table

from pipeline import config
from pipeline.config import Prepare, Source
from pipeline.corpus.ids import place_of
from pipeline.corpus.prepare import prepare
from pipeline.corpus.table import corpus_shards, read_corpus_shard
from pipeline.integration.integrate import integrate
from pipeline.layout import Layout
from pipeline.models.tokenizers import load_tokenizer
from pipeline.training.golden_rows import read_tokens, write_tokens
from tests import tiny
from tests.benchmarks.integration import SHARD, write_project
from tests.benchmarks.measure import in_a_process

TESTS = (
    "tests/pipeline/labelling/test_ray.py",
    "tests/pipeline/labelling/test_engines.py",
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


def main() -> None:
    """Print the table, then run the tests; ends with their exit code."""
    sizes = [10_000, 100_000, 1_000_000] + ([10_000_000] if "SCALE_MANY" in os.environ else [])
    Console(width=140).print(rows_table(sizes))
    command = [sys.executable, "-m", "pytest", "-q", "--durations=12", *TESTS]
    sys.exit(subprocess.run(command, env=os.environ | KILLS, check=False).returncode)


if __name__ == "__main__":
    main()
