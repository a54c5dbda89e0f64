"""Tables in a bucket, on a server that speaks S3."""

import json
import os
import pickle
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
import yaml

from muki_pipeline import config
from muki_pipeline.corpus.prepare import prepare
from muki_pipeline.corpus.table import with_ids, write_corpus_parts
from muki_pipeline.errors import MukiError
from muki_pipeline.labelling.run import label_corpus
from muki_pipeline.layout import open_golden
from muki_pipeline.store import bucket as module
from muki_pipeline.store.bucket import BucketStore
from muki_pipeline.store.folder import FolderStore
from muki_pipeline.store.table import Table, part_name, seal
from muki_pipeline.supervision.integrate import integrate
from muki_pipeline.training.student.train import train_student
from muki_stages import evaluate, report
from tests import tiny
from tests.marks import at_length

NO_WAIT = timedelta(seconds=-5)
TABLE = pa.table({"id": ["a", "b"], "value": pa.array([1.0, 2.0], pa.float32())})


@pytest.fixture
def work(s3: str, tmp_path: Path) -> BucketStore:
    return BucketStore(tmp_path / "labels", s3)


@pytest.fixture
def golden(s3: str, tmp_path: Path) -> BucketStore:
    return BucketStore(tmp_path / "golden", s3)


def test_what_is_stored_reads_back(golden: BucketStore) -> None:
    shard = golden.write(part_name(0), TABLE, "k", {"fact": 1})
    assert shard.file.startswith("golden/part-00000/")
    assert not golden.folder.exists()
    assert shard.read().equals(TABLE)
    assert shard.read(["value"], verify=False)["value"].to_pylist() == [1.0, 2.0]
    assert shard.footer() == {"fact": 1}


def test_a_table_is_a_manifest_here_and_data_there(golden: BucketStore) -> None:
    golden.folder.mkdir()
    shard = golden.write(part_name(0), TABLE, "k")
    seal(golden.folder, [shard], {"fact": 1})
    assert [path.name for path in golden.folder.iterdir()] == ["manifest.json"]
    [entry] = json.loads((golden.folder / "manifest.json").read_text())["shards"]
    assert list(entry) == ["file", "rows", "bytes", "sha256", "key", "store"]
    assert entry["store"] == golden.url
    table = Table.open(golden.folder, "")
    assert (table.shards, table.facts) == ([shard], {"fact": 1})


def test_a_shard_is_one_request_so_that_a_kill_leaves_no_parts(work: BucketStore) -> None:
    name = work.put("k.parquet", bytes(6 * 2**20))
    assert "-" not in str(module._objects(work.url).head(name)["e_tag"])  # as in that of an object of several parts


def test_changed_cut_and_missing_objects_are_refused(golden: BucketStore) -> None:
    import obstore

    objects = module._objects(golden.url)
    shard = replace(golden.write(part_name(0), TABLE, "k"), remedy="Do this")
    content = golden.read(shard.file)
    flipped = bytes([*content[:20], content[20] ^ 1, *content[21:]])
    for damage, message in ((flipped, "the file was changed"), (content[:-1], "it was cut short or replaced")):
        obstore.put(objects, shard.file, damage)
        with pytest.raises(MukiError, match=f"{golden.url}/{shard.file}.*{message}. Do this"):
            shard.read()
    obstore.delete(objects, shard.file)
    for use in (shard.read, shard.footer):
        with pytest.raises(MukiError, match="is listed in the manifest but missing"):
            use()


def test_finished_work_is_found_by_its_key(work: BucketStore) -> None:
    assert work.find("k") is None
    stored = work.finish("k", TABLE, {})
    assert work.find("k") == stored
    assert stored.read(["id"])["id"].to_pylist() == ["a", "b"]
    marker = json.loads(work.read("labels/k.json"))
    assert marker == {"file": stored.file, "rows": 2, "bytes": stored.bytes, "sha256": stored.sha256, "key": "k"}


def race(number: int, work: BucketStore) -> str:
    return work.finish("k", TABLE.slice(0, 1 + number % 2), {"writer": number}).file


def test_of_many_writers_one_wins_and_the_others_take_its_result(work: BucketStore) -> None:
    with ThreadPoolExecutor(16) as pool:
        names = set(pool.map(lambda number: race(number, work), range(64)))
    assert len(names) == 1
    stored = work.find("k")
    assert stored is not None
    assert stored.file in names


@at_length
def test_writers_in_other_processes_race_too(work: BucketStore) -> None:
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        futures = [pool.submit(race, number, work) for number in range(6)]
        assert len({future.result(timeout=120) for future in futures}) == 1


def test_sweep_deletes_what_nothing_names(work: BucketStore, golden: BucketStore) -> None:
    import obstore

    stored = work.finish("k", TABLE, {})
    golden.folder.mkdir()
    shard = golden.write(part_name(0), TABLE, "k")
    seal(golden.folder, [shard])
    orphan = work.put("killed.parquet", b"half a run")
    others = ("mine.parquet", "a/mine.parquet", f"elsewhere/{orphan}")
    for name in others:
        obstore.put(module._objects(work.url), name, b"somebody's own")
    assert work.sweep(timedelta(hours=1)) == (0, 0)  # somebody may be about to name it
    assert work.sweep(NO_WAIT) == (1, len(b"half a run"))
    assert work.size(orphan) is None
    assert all(work.size(name) for name in others)
    assert stored.is_intact()
    assert shard.is_intact()


def test_a_corpus_that_is_there_is_not_uploaded_again(s3: str, tmp_path: Path) -> None:
    import obstore

    store = BucketStore(tmp_path / "corpus", s3)

    def write(*texts: str) -> list[str]:
        shards = write_corpus_parts(store, [[with_ids(pl.DataFrame({"text": texts}))]], 2)
        return [shard.file for shard in shards]

    first, second = write("a", "b", "c")
    assert write("a", "b", "c") == [first, second]
    again, changed = write("a", "b", "d")
    assert (again, changed != second) == (first, True)
    obstore.put(module._objects(s3), first, b"another's")
    assert write("a", "b", "d")[0] != first
    manifest = tmp_path / "corpus" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"rows": 2', '"rows": 3'))
    write("a", "b", "d")
    assert Table.open(store.folder, "").frame()["text"].to_list() == ["a", "b", "d"]


def test_a_folder_has_nothing_to_sweep(tmp_path: Path) -> None:
    with pytest.raises(MukiError, match="is a folder, not a bucket"):
        FolderStore(tmp_path).sweep(NO_WAIT)


def test_a_name_whose_data_is_gone_is_refused(work: BucketStore) -> None:
    import obstore

    obstore.delete(module._objects(work.url), work.finish("k", TABLE, {}).file)
    with pytest.raises(MukiError, match=r"labels/k.json: names data that is not there. Delete this object"):
        work.find("k")


def test_without_the_extra_a_bucket_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(
        MukiError, match=r"store: s3://b/p: a bucket needs the package obstore.*muki-pipeline\[bucket\]"
    ):
        BucketStore(tmp_path, "s3://b/p")


def test_a_bucket_that_ignores_the_condition_is_refused(work: BucketStore, monkeypatch: pytest.MonkeyPatch) -> None:
    import obstore

    put = obstore.put

    def ignoring(store: Any, path: str, file: Any, **options: Any) -> Any:
        return put(store, path, file)

    monkeypatch.setattr(obstore, "put", ignoring)
    module._check_conditions.cache_clear()
    with pytest.raises(MukiError, match="overwrites an object that was to be created only if missing"):
        work.create("labels/k.json", {})


def test_a_conflict_is_tried_again(work: BucketStore, monkeypatch: pytest.MonkeyPatch) -> None:
    import obstore
    from obstore.exceptions import GenericError

    work.create("first", {})
    put, conflicts = obstore.put, iter([True, True, False])

    def conflicting(*arguments: Any, **options: Any) -> Any:
        if next(conflicts):
            raise GenericError("409 ConditionalRequestConflict")
        return put(*arguments, **options)

    monkeypatch.setattr(obstore, "put", conflicting)
    assert work.create("labels/k.json", {"a": 1})


def test_no_credentials_get_into_a_message(s3: str, tmp_path: Path) -> None:
    secret = os.environ["AWS_SECRET_ACCESS_KEY"]
    with pytest.raises(MukiError) as error:
        BucketStore(tmp_path, "s3://no-such-bucket-here/x").create("a", {})
    assert secret not in str(error.value)
    assert str(error.value).startswith("s3://no-such-bucket-here/x: there is no such bucket")
    path = tiny.save_project(tmp_path, store="s3://key:secret@bucket/x")
    with pytest.raises(MukiError, match="store: String should match pattern"):
        config.load(path)


def numbers(path: Path) -> dict[str, Any]:
    """A project's golden numbers and its student's metrics."""
    params, layout = config.load(path)
    tiny.label(path)
    integrate(params, layout, layout.golden)
    train_student(params, layout)
    evaluate.main(path)
    report.main(path)
    targets = open_golden(layout.golden).frame(["target"])["target"].to_numpy()
    return {"targets": targets, "metrics": json.loads(layout.metrics.read_text())}


def test_the_whole_way_through_a_bucket_gives_the_same_numbers(s3: str, tmp_path: Path) -> None:
    here = numbers(tiny.save_project(tmp_path / "here"))
    path = tiny.save_project(tmp_path / "there", store=s3)
    there = numbers(path)
    np.testing.assert_array_equal(there["targets"], here["targets"])
    assert there["metrics"] == here["metrics"]
    _, layout = config.load(path)
    for folder in (layout.corpus, layout.labels("one"), layout.golden, layout.embeddings):
        assert [file.name for file in folder.iterdir()] == ["manifest.json"]
    params, _ = config.load(path)
    assert label_corpus("one", params.teachers["one"], params.label, layout).new_rows == 0
    assert BucketStore(layout.work, s3).sweep(NO_WAIT) == (0, 0)


def test_labels_from_before_there_was_a_bucket_are_uploaded(s3: str, tmp_path: Path) -> None:
    path = tiny.save_project(tmp_path)
    tiny.label(path)
    params, layout = config.load(path)
    local = Table.open(layout.labels("one"), "")
    rows = local.frame()
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"store": s3}))
    params, layout = config.load(path)
    prepare(params.prepare, layout)
    assert label_corpus("one", params.teachers["one"], params.label, layout).new_rows == 0
    there = Table.open(layout.labels("one"), "")
    assert [shard.store.url for shard in there.shards] == [s3] * len(local.shards)
    assert [shard.sha256 for shard in there.shards] == [shard.sha256 for shard in local.shards]
    assert there.frame().equals(rows)


def test_labels_that_are_finished_are_not_fetched_again(
    s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tiny.save_project(tmp_path, store=s3)
    rows = [f'"{text}",oak' for text in tiny.texts(29, 1)] + [f'"{tiny.texts(30, 1)[29]}",elm']
    (tmp_path / "two.csv").write_text("\n".join(["text,label", *rows]))
    teachers = {"one": {"model": "models/one"}, "two": {"answers": "two.csv"}}
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"teachers": teachers}))
    params, layout = config.load(path)
    prepare(params.prepare, layout)
    for name, teacher in params.teachers.items():
        label_corpus(name, teacher, params.label, layout)
    fetched: list[str] = []
    read = BucketStore.read

    def noted(store: BucketStore, file: str) -> bytes:
        fetched.append(file)
        return read(store, file)

    monkeypatch.setattr(BucketStore, "read", noted)
    for name, teacher in params.teachers.items():
        assert label_corpus(name, teacher, params.label, layout).new_rows == 0
    assert fetched
    assert not [file for file in fetched if file.endswith(".parquet")]


def test_a_shard_can_be_pickled(golden: BucketStore) -> None:
    shard = golden.write(part_name(0), TABLE, "k")
    assert pickle.loads(pickle.dumps(shard)) == shard
    assert pickle.loads(pickle.dumps(shard)).read().equals(TABLE)


def test_what_lies_where_is_seen_by_polars(golden: BucketStore) -> None:
    """The manifest's names are the objects' names."""
    shard = golden.write(part_name(0), TABLE, "k")
    options = {
        "aws_endpoint_url": os.environ["AWS_ENDPOINT_URL"],
        "aws_access_key_id": os.environ["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": os.environ["AWS_SECRET_ACCESS_KEY"],
        "aws_region": "us-east-1",
        "aws_allow_http": "true",
    }
    assert pl.read_parquet(f"{golden.url}/{shard.file}", storage_options=options)["id"].to_list() == ["a", "b"]


def test_sweep_deletes_nothing_beside_a_name_that_it_cannot_read(work: BucketStore) -> None:
    import obstore

    orphan = work.put("killed.parquet", b"half a run")
    obstore.put(module._objects(work.url), "notes.json", b"somebody's own")
    with pytest.raises(MukiError, match=r"notes\.json: is no JSON, so what it names is not known"):
        work.sweep(NO_WAIT)
    assert work.size(orphan) is not None
