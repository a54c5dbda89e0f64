import pickle
import shutil
import weakref
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from muki_pipeline.blocks import Teacher
from muki_pipeline.config import Label
from muki_pipeline.corpus import table
from muki_pipeline.engines.processes import process_context
from muki_pipeline.labelling import labeller, trial
from muki_pipeline.labelling.job import LabelJob
from muki_pipeline.labelling.run import LabellingSummary, label_corpus, label_with
from muki_pipeline.labelling.store import StoredTeacher
from muki_pipeline.layout import Layout
from muki_pipeline.models.teachers import locate
from muki_pipeline.store.keys import canonical_key
from muki_pipeline.store.store import Shard
from muki_pipeline.store.table import Table
from tests import tiny
from tests.recorder import Recorder

SETTINGS = Label(passes=8, max_length=20, token_budget=150, device="cpu", dtype="float32")


def write_corpus(layout: Layout, texts: list[str]) -> None:
    table.write_corpus(layout.corpus, table.with_ids(pl.DataFrame({"text": texts})), shard_rows=8)


class Run:
    """`label_corpus` on a tiny teacher, with the texts that went through the network counted."""

    def __init__(self, root: Path) -> None:
        self.layout = Layout(root)
        tiny.save_teacher(root / "m", ["a", "b", "c"])

    def __call__(self, **changes: Any) -> int:
        recorder = Recorder()
        teacher = Teacher(model="m")
        settings = SETTINGS.model_copy(update={"passes": 2, **changes})
        self.done: LabellingSummary = label_corpus("t", teacher, settings, self.layout, recorder)
        [task] = recorder.tasks
        self.estimate = task.expected_seconds or 0.0
        assert sum(task.amounts) == task.total
        return task.total

    def frame(self) -> pl.DataFrame:
        return pl.read_parquet(self.layout.labels("t") / "*.parquet")


def test_only_what_changed_is_labelled(tmp_path: Path) -> None:
    run = Run(tmp_path)
    texts = tiny.texts(20)
    write_corpus(run.layout, texts)
    assert run() == 20 * 3
    first = run.frame()
    assert run() == 0
    write_corpus(run.layout, [*texts, "w1 w2 w3", "w4"])
    assert run() == (4 + 2) * 3  # the last shard had room, so it is another shard now
    assert run.frame()[:20].equals(first)
    assert run(passes=3) == 22 * 4
    assert run(seed=1) == 22 * 3
    assert run(token_budget=50) == 0
    tiny.save_teacher(tmp_path / "m", ["a", "b", "c"], seed=1)
    assert run() == 22 * 3


def test_a_damaged_shard_of_the_work_folder_is_labelled_again(tmp_path: Path) -> None:
    run = Run(tmp_path)
    write_corpus(run.layout, tiny.texts(20))
    run()
    before = run.frame()
    victim = max((run.layout.work / "labels").glob("*.parquet"), key=lambda path: path.stat().st_size)
    victim.write_bytes(victim.read_bytes()[:-1])
    assert run() in (8 * 3, 4 * 3)
    assert run.frame().equals(before)


def test_published_labels_come_back_from_the_work_folder(tmp_path: Path) -> None:
    run = Run(tmp_path)
    write_corpus(run.layout, tiny.texts(20))
    run()
    before = run.frame()
    shutil.rmtree(run.layout.labels("t"))  # as DVC does before it runs a stage
    assert run() == 0
    assert run.frame().equals(before)


def test_the_footer_says_what_determined_the_numbers(tmp_path: Path) -> None:
    run = Run(tmp_path)
    write_corpus(run.layout, tiny.texts(3))
    run()
    shard = Table.open(run.layout.labels("t"), "").shards[0]
    facts = shard.footer()
    assert facts["labels"] == ["a", "b", "c"]
    assert facts["corpus_digest"] == Table.open(run.layout.corpus, "").shards[0].key
    assert {site["p"] for site in facts["dropout"]} == {0.1}
    assert sorted(site["kind"] for site in facts["dropout"]).count("attention") == 2
    assert facts["versions"]["torch"] == torch.__version__
    determining = {key: value for key, value in facts.items() if key not in ("dropout", "versions")}
    assert canonical_key(determining) == shard.key


def test_what_it_did_is_counted(tmp_path: Path) -> None:
    run = Run(tmp_path)
    write_corpus(run.layout, tiny.texts(20))
    run()
    tokens = run.frame()["tokens"].sum()
    assert run.done.throughput.texts == 20 * 3
    assert run.done.throughput.tokens == tokens * 3
    assert run.done.throughput.positions >= run.done.throughput.tokens
    assert run.estimate > 0
    assert run.done.network_share is not None
    assert 0 < run.done.network_share < 1
    run()
    assert run.done.throughput.texts == run.done.throughput.tokens == run.estimate == 0


def test_the_estimate_is_of_the_right_size(tmp_path: Path) -> None:
    run = Run(tmp_path)
    write_corpus(run.layout, tiny.texts(400))
    run(passes=8)
    assert run.done.seconds / 20 < run.estimate < run.done.seconds * 20


def _in_another_process(arguments: bytes) -> Shard:
    job, shard = pickle.loads(arguments)
    labels: Shard = job.start(1)(shard).labels
    return labels


def test_a_shard_can_be_labelled_by_any_process(tmp_path: Path) -> None:
    run = Run(tmp_path)
    write_corpus(run.layout, tiny.texts(20))
    job = LabelJob(StoredTeacher(locate("t", Teacher(model="m"), tmp_path), SETTINGS, run.layout))
    [first, *_] = table.corpus_shards(run.layout.corpus)
    here = job.label(first).labels
    content = here.read(["probs"])
    shutil.rmtree(run.layout.work)
    arguments = pickle.dumps((job, first))  # after its weights were loaded
    with ProcessPoolExecutor(1, process_context("muki_pipeline.labelling.job")) as pool:
        there = pool.submit(_in_another_process, arguments).result(timeout=120)
    assert there.key == here.key
    assert there.read(["probs"]).equals(content)


@pytest.mark.parametrize(("dtype", "most"), [("float32", 1), ("auto", 2)])  # a trial compares two
def test_of_several_teachers_one_is_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str, most: int
) -> None:
    loaded: list[weakref.ref[Any]] = []
    alive: list[int] = []
    load = labeller.load

    def noted(*arguments: Any) -> Any:
        model, tokenizer = load(*arguments)
        loaded.append(weakref.ref(model))
        alive.append(sum(each() is not None for each in loaded))
        return model, tokenizer

    monkeypatch.setattr(labeller, "load", noted)
    monkeypatch.setattr(trial, "fast_dtype", lambda device: "bfloat16")
    names = ("one", "two", "three")
    for name in names:
        tiny.save_teacher(tmp_path / name, ["a", "b"])
    layout = Layout(tmp_path)
    write_corpus(layout, tiny.texts(20))
    settings = SETTINGS.model_copy(update={"passes": 2, "dtype": dtype})
    done = label_with({name: Teacher(model=name) for name in names}, settings, layout)
    assert [each.new_rows for each in done.values()] == [20, 20, 20]
    assert max(alive) == most
