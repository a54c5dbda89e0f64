"""Tables in a bucket, on a server that speaks S3."""

import json
import os
import pickle
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from datetime import timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from muki_pipeline import config
from muki_pipeline.errors import MukiError
from muki_pipeline.integration.integrate import integrate
from muki_pipeline.labelling.run import label_corpus
from muki_pipeline.tables import bucket as module
from muki_pipeline.tables.bucket import Bucket
from muki_pipeline.tables.manifest import read_manifest, seal
from muki_pipeline.tables.shards import read_shard, read_unverified, write_shard
from muki_pipeline.tables.work import find_stored, store_shard
from muki_pipeline.training.student.train import train_student
from muki_stages import evaluate, report
from tests import tiny
from tests.marks import at_length

NO_WAIT = timedelta(seconds=-5)
TABLE = pa.table({"id": ["a", "b"], "value": pa.array([1.0, 2.0], pa.float32())})


def test_what_is_stored_reads_back(s3: str, tmp_path: Path) -> None:
    shard = write_shard(tmp_path / "golden" / "part-00000.parquet", TABLE, "k", {"fact": 1}, s3)
    assert shard.store == s3
    assert not (tmp_path / "golden").exists()
    assert read_shard(tmp_path / "golden", shard, "").equals(TABLE)
    assert read_unverified(tmp_path / "golden", shard, "", ["value"])["value"].to_pylist() == [1.0, 2.0]


def test_a_table_is_a_manifest_here_and_data_there(s3: str, tmp_path: Path) -> None:
    folder = tmp_path / "golden"
    folder.mkdir()
    shard = write_shard(folder / "part-00000.parquet", TABLE, "k", None, s3)
    seal(folder, [shard], {"fact": 1})
    assert [path.name for path in folder.iterdir()] == ["manifest.json"]
    shards, facts = read_manifest(folder, "")
    assert (shards, facts) == ([shard], {"fact": 1})


def test_changed_cut_and_missing_objects_are_refused(s3: str, tmp_path: Path) -> None:
    import obstore

    shard = write_shard(tmp_path / "t" / "part-00000.parquet", TABLE, "k", None, s3)
    store = module._store(s3)
    content = Bucket(s3).read(shard.file)
    flipped = bytes([*content[:20], content[20] ^ 1, *content[21:]])
    for damage, message in ((flipped, "the file was changed"), (content[:-1], "it was cut short or replaced")):
        obstore.put(store, shard.file, damage)
        with pytest.raises(MukiError, match=f"{s3}/{shard.file}.*{message}. Do this"):
            read_shard(tmp_path / "t", shard, "Do this")
    obstore.delete(store, shard.file)
    with pytest.raises(MukiError, match="is listed in the manifest but missing"):
        read_shard(tmp_path / "t", shard, "")


def test_finished_work_is_found_by_its_key(s3: str, tmp_path: Path) -> None:
    work = tmp_path / "labels"
    assert find_stored(work, "k", s3) is None
    stored = store_shard(work, "k", TABLE, {}, s3)
    assert find_stored(work, "k", s3) == stored
    assert stored.read(["id"], "")["id"].to_pylist() == ["a", "b"]


def race(number: int, url: str, work: Path) -> str:
    return store_shard(work, "k", TABLE.slice(0, 1 + number % 2), {"writer": number}, url).shard.file


def test_of_many_writers_one_wins_and_the_others_take_its_result(s3: str, tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        names = set(pool.map(lambda number: race(number, s3, tmp_path / "labels"), range(64)))
    assert len(names) == 1
    stored = find_stored(tmp_path / "labels", "k", s3)
    assert stored is not None
    assert stored.shard.file in names


@at_length
def test_writers_in_other_processes_race_too(s3: str, tmp_path: Path) -> None:
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        futures = [pool.submit(race, number, s3, tmp_path / "labels") for number in range(6)]
        assert len({future.result(timeout=120) for future in futures}) == 1


def test_sweep_deletes_what_nothing_names(s3: str, tmp_path: Path) -> None:
    import obstore

    bucket, work = Bucket(s3), tmp_path / "labels"
    stored = store_shard(work, "k", TABLE, {}, s3)
    folder = tmp_path / "golden"
    folder.mkdir()
    shard = write_shard(folder / "part-00000.parquet", TABLE, "k", None, s3)
    seal(folder, [shard])
    orphan = bucket.put_data("labels/killed", b"half a run")
    others = ("mine.parquet", "a/mine.parquet", f"elsewhere/{orphan}")
    for name in others:
        obstore.put(module._store(s3), name, b"somebody's own")
    assert bucket.sweep(timedelta(hours=1)) == (0, 0)  # somebody may be about to name it
    assert bucket.sweep(NO_WAIT) == (1, len(b"half a run"))
    assert bucket.size(orphan) is None
    assert all(bucket.size(name) for name in others)
    assert bucket.size(stored.shard.file) == stored.shard.bytes
    assert bucket.size(shard.file) == shard.bytes


def test_a_name_whose_data_is_gone_is_refused(s3: str, tmp_path: Path) -> None:
    import obstore

    stored = store_shard(tmp_path / "labels", "k", TABLE, {}, s3)
    obstore.delete(module._store(s3), stored.shard.file)
    with pytest.raises(MukiError, match=r"labels/k.json: names data that is not there. Delete this object"):
        find_stored(tmp_path / "labels", "k", s3)


def test_a_bucket_that_ignores_the_condition_is_refused(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import obstore

    put = obstore.put

    def ignoring(store: Any, path: str, file: Any, **options: Any) -> Any:
        return put(store, path, file)

    monkeypatch.setattr(obstore, "put", ignoring)
    module._check_conditions.cache_clear()
    with pytest.raises(MukiError, match="overwrites an object that was to be created only if missing"):
        Bucket(s3).create("labels/k.json", {})


def test_a_conflict_is_tried_again(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import obstore
    from obstore.exceptions import GenericError

    Bucket(s3).create("first", {})
    put, conflicts = obstore.put, iter([True, True, False])

    def conflicting(*arguments: Any, **options: Any) -> Any:
        if next(conflicts):
            raise GenericError("409 ConditionalRequestConflict")
        return put(*arguments, **options)

    monkeypatch.setattr(obstore, "put", conflicting)
    assert Bucket(s3).create("labels/k.json", {"a": 1})


def test_no_credentials_get_into_a_message(s3: str, tmp_path: Path) -> None:
    secret = os.environ["AWS_SECRET_ACCESS_KEY"]
    with pytest.raises(MukiError) as error:
        Bucket("s3://no-such-bucket-here/x").create("a", {})
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
    train_student(params.student, layout)
    evaluate.main(path)
    report.main(path)
    shards, _ = read_manifest(layout.golden, "")
    tables = [read_shard(layout.golden, shard, "") for shard in shards]
    targets = np.concatenate([np.stack(table["target"].to_numpy()) for table in tables])
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
    assert Bucket(s3).sweep(NO_WAIT) == (0, 0)


def test_a_bucket_can_be_pickled() -> None:
    assert pickle.loads(pickle.dumps(Bucket("s3://b/p"))) == Bucket("s3://b/p")


def test_what_lies_where_is_seen_by_polars(s3: str, tmp_path: Path) -> None:
    """The manifest's names are the objects' names."""
    shard = write_shard(tmp_path / "golden" / "part-00000.parquet", TABLE, "k", None, s3)
    options = {
        "aws_endpoint_url": os.environ["AWS_ENDPOINT_URL"],
        "aws_access_key_id": os.environ["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": os.environ["AWS_SECRET_ACCESS_KEY"],
        "aws_region": "us-east-1",
        "aws_allow_http": "true",
    }
    assert pl.read_parquet(f"{s3}/{shard.file}", storage_options=options)["id"].to_list() == ["a", "b"]
