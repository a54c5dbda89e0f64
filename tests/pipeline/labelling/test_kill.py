"""kill -9 at random moments of `label`: nothing finished is lost or redone, nothing unfinished is used."""

import multiprocessing
import random
import shutil
import time
from pathlib import Path

import polars as pl
import pytest
import torch

from muki_pipeline.blocks import Teacher
from muki_pipeline.config import Label
from muki_pipeline.corpus.table import with_ids, write_corpus
from muki_pipeline.labelling.run import label_corpus
from muki_pipeline.layout import Layout
from muki_pipeline.store.table import Table
from tests import tiny

KILLS, SHARDS = 20, 30
SETTINGS = Label(passes=6, max_length=24, device="cpu", dtype="float32")


def work(root: Path) -> None:
    torch.set_num_threads(1)
    label_corpus("t", Teacher(model="m"), SETTINGS, Layout(root))


def project(root: Path) -> Layout:
    tiny.save_teacher(root / "m", ["a", "b", "c"])
    texts = with_ids(pl.DataFrame({"text": tiny.texts(3 * SHARDS)}))
    write_corpus(Layout(root).corpus, texts, shard_rows=3)
    return Layout(root)


def finished(layout: Layout) -> dict[str, int]:
    """Keys of the shards that have both their files, with the time of writing."""
    folder = layout.work / "labels"
    return {
        path.stem: path.stat().st_mtime_ns for path in folder.glob("*.parquet") if path.with_suffix(".json").exists()
    }


@pytest.mark.slow
def test_twenty_kills_and_a_last_run_equal_one_undisturbed_run(tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["muki_pipeline.labelling.run"])
    undisturbed = project(tmp_path / "undisturbed")
    context.Process(target=int).start()  # the server itself takes seconds to import torch
    start = time.monotonic()
    process = context.Process(target=work, args=(tmp_path / "undisturbed",))
    process.start()
    process.join()
    seconds = time.monotonic() - start
    assert process.exitcode == 0

    layout = project(tmp_path / "killed")
    expected = pl.read_parquet(undisturbed.labels("t") / "*.parquet")
    moments = random.Random(8)
    before: dict[str, int] = {}
    killed = 0
    while killed < KILLS:
        process = context.Process(target=work, args=(tmp_path / "killed",))
        process.start()
        process.join(moments.uniform(0, seconds))
        if process.exitcode is None:
            process.kill()
            process.join()
            killed += 1
        now = finished(layout)
        assert {key: now[key] for key in before} == before  # nothing lost, nothing written again
        before = now
        if process.exitcode == 0:  # it got to the end in spite of the kills before: judge it, and begin anew
            assert len(now) == SHARDS
            assert pl.read_parquet(layout.labels("t") / "*.parquet").equals(expected)
            shutil.rmtree(layout.work)
            before = {}

    process = context.Process(target=work, args=(tmp_path / "killed",))
    process.start()
    process.join()
    assert process.exitcode == 0
    now = finished(layout)
    assert {key: now[key] for key in before} == before
    assert len(now) == SHARDS
    assert pl.read_parquet(layout.labels("t") / "*.parquet").equals(expected)
    for shard in Table.open(layout.labels("t"), "").shards:
        shard.read()
