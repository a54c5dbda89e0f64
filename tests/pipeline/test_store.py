import json
import multiprocessing
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from pipeline import store
from pipeline.errors import MukiError


def table(rows: int = 5) -> pa.Table:
    values = np.arange(rows * 3, dtype=np.float32).reshape(rows, 3)
    return pa.table({"id": [f"i{row}" for row in range(rows)], "probs": store.fixed_size_lists(values)})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shards = [store.write_shard(tmp_path / store.part_name(n), table(), f"key{n}", {"n": n}) for n in range(2)]
    store.seal(tmp_path, shards, {"fact": 7})
    return tmp_path


def test_a_table_reads_back(folder: Path) -> None:
    shards, facts = store.manifest(folder, "mend")
    assert [(shard.file, shard.rows, shard.key) for shard in shards] == [
        ("part-00000.parquet", 5, "key0"),
        ("part-00001.parquet", 5, "key1"),
    ]
    assert facts == {"fact": 7}
    read = store.read_shard(folder, shards[1], "mend")
    assert read.equals(table())
    assert store.footer(folder / shards[1].file, "mend") == {"n": 1}
    np.testing.assert_array_equal(store.matrix(read["probs"]), np.arange(15, dtype=np.float32).reshape(5, 3))


def test_polars_sees_arrays(folder: Path) -> None:
    frame = pl.read_parquet(folder / "part-00000.parquet")
    assert frame.schema["probs"] == pl.Array(pl.Float32, 3)


@pytest.mark.parametrize("position", [4, 100, -9])
def test_a_flipped_byte_is_refused_by_name(folder: Path, position: int) -> None:
    path = folder / "part-00001.parquet"
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)
    shards, _ = store.manifest(folder, "mend")
    with pytest.raises(MukiError, match=r"part-00001\.parquet: has SHA-256 .* bytes were changed\. mend"):
        store.read_shard(folder, shards[1], "mend")


def test_a_file_cut_short_is_refused_by_name(folder: Path) -> None:
    path = folder / "part-00000.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(MukiError, match=r"part-00000\.parquet: has .* bytes, the manifest vouches for"):
        store.read_shard(folder, store.manifest(folder, "mend")[0][0], "mend")


def test_a_missing_file_and_a_missing_column_are_refused(folder: Path) -> None:
    shards, _ = store.manifest(folder, "mend")
    with pytest.raises(MukiError, match=r"has no column \['text'\]"):
        store.read_shard(folder, shards[0], "mend", ["text"])
    (folder / shards[0].file).unlink()
    with pytest.raises(MukiError, match="named by the manifest and missing"):
        store.read_shard(folder, shards[0], "mend")


def test_a_first_look_reads_columns_and_refuses_what_it_can_see_without_a_digest(folder: Path) -> None:
    shards, _ = store.manifest(folder, "mend")
    path = folder / shards[0].file
    assert store.read_unverified(folder, shards[0], "mend", ["id"]).equals(table().select(["id"]))
    with pytest.raises(MukiError, match=r"has no column \['text'\]"):
        store.read_unverified(folder, shards[0], "mend", ["text"])
    with pytest.raises(MukiError, match=r"part-00000\.parquet: has 5 rows, the manifest vouches for 6"):
        store.read_unverified(folder, replace(shards[0], rows=6), "mend", ["id"])
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(MukiError, match=r"part-00000\.parquet: has .* bytes, the manifest vouches for"):
        store.read_unverified(folder, shards[0], "mend", ["id"])
    path.unlink()
    with pytest.raises(MukiError, match="named by the manifest and missing"):
        store.read_unverified(folder, shards[0], "mend", ["id"])


def test_what_the_manifest_does_not_name_is_removed_and_never_read(folder: Path) -> None:
    (folder / "part-00007.parquet").write_bytes((folder / "part-00000.parquet").read_bytes())
    shards, _ = store.manifest(folder, "mend")
    assert len(shards) == 2
    store.unseal(folder)
    store.seal(folder, shards[:1])
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "part-00000.parquet"]


def test_an_unfinished_or_damaged_table_is_refused(folder: Path) -> None:
    (folder / store.MANIFEST).write_text("{")
    with pytest.raises(MukiError, match=r"manifest\.json: is damaged"):
        store.manifest(folder, "mend")
    (folder / store.MANIFEST).write_text(json.dumps({"shards": [{"file": "x"}]}))
    with pytest.raises(MukiError, match="is damaged"):
        store.manifest(folder, "mend")
    store.unseal(folder)
    with pytest.raises(MukiError, match=r"there is no finished table\. mend"):
        store.manifest(folder, "mend")


def test_publishing_does_not_share_later_writes_with_the_work_folder(tmp_path: Path) -> None:
    source = tmp_path / "work.parquet"
    entry = store.write_shard(source, table(), "k")
    store.publish(tmp_path / "out", [(source, entry)], {})
    store.write_shard(source, table(9), "other")
    shards, _ = store.manifest(tmp_path / "out", "mend")
    assert store.read_shard(tmp_path / "out", shards[0], "mend").equals(table())


def test_keys_do_not_depend_on_the_order_of_facts() -> None:
    assert store.canonical_key({"a": 1, "b": [2.5, "ü"]}) == store.canonical_key({"b": [2.5, "ü"], "a": 1})
    assert store.canonical_key({"a": 1}) != store.canonical_key({"a": 2})


def _hold(lock: Path, ready: "multiprocessing.synchronize.Event") -> None:
    with store.only_one(lock, "working"):
        ready.set()
        multiprocessing.Event().wait(60)


def test_a_lock_is_freed_when_its_holder_is_killed(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    holder = context.Process(target=_hold, args=(tmp_path / "lock", ready))
    holder.start()
    assert ready.wait(30)
    with pytest.raises(MukiError, match="another process is working"), store.only_one(tmp_path / "lock", "working"):
        pass
    holder.kill()
    holder.join()
    with store.only_one(tmp_path / "lock", "working"):
        pass
