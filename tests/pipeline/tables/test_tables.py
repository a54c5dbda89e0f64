import errno
import fcntl
import json
import multiprocessing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from muki_pipeline.errors import MukiError
from muki_pipeline.tables.columns import fixed_size_lists, matrix, spreadsheet_csv
from muki_pipeline.tables.files import only_one
from muki_pipeline.tables.keys import canonical_key
from muki_pipeline.tables.manifest import MANIFEST, publish, read_manifest, seal, unseal
from muki_pipeline.tables.shards import (
    part_name,
    read_footer,
    read_shard,
    read_table_file,
    read_unverified,
    write_shard,
    write_table_file,
)
from muki_pipeline.tables.work import StoredShard


def table(rows: int = 5) -> pa.Table:
    values = np.arange(rows * 3, dtype=np.float32).reshape(rows, 3)
    return pa.table({"id": [f"i{row}" for row in range(rows)], "probs": fixed_size_lists(values)})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shards = [write_shard(tmp_path / part_name(n), table(), f"key{n}", {"n": n}) for n in range(2)]
    seal(tmp_path, shards, {"fact": 7})
    return tmp_path


def test_a_table_reads_back(folder: Path) -> None:
    shards, facts = read_manifest(folder, "mend")
    assert [(shard.file, shard.rows, shard.key) for shard in shards] == [
        ("part-00000.parquet", 5, "key0"),
        ("part-00001.parquet", 5, "key1"),
    ]
    assert facts == {"fact": 7}
    read = read_shard(folder, shards[1], "mend")
    assert read.equals(table())
    assert read_footer(folder, shards[1], "mend") == {"n": 1}
    np.testing.assert_array_equal(matrix(read["probs"]), np.arange(15, dtype=np.float32).reshape(5, 3))


def test_polars_sees_arrays(folder: Path) -> None:
    frame = pl.read_parquet(folder / "part-00000.parquet")
    assert frame.schema["probs"] == pl.Array(pl.Float32, 3)


@pytest.mark.parametrize("position", [4, 100, -9])
def test_a_flipped_byte_is_refused_by_name(folder: Path, position: int) -> None:
    path = folder / "part-00001.parquet"
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)
    shards, _ = read_manifest(folder, "mend")
    with pytest.raises(MukiError, match=r"part-00001\.parquet: has SHA-256 .* file was changed\. mend"):
        read_shard(folder, shards[1], "mend")


def test_a_file_cut_short_is_refused_by_name(folder: Path) -> None:
    path = folder / "part-00000.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(MukiError, match=r"part-00000\.parquet: has .* bytes, but its manifest says"):
        read_shard(folder, read_manifest(folder, "mend")[0][0], "mend")


def test_a_missing_file_and_a_missing_column_are_refused(folder: Path) -> None:
    shards, _ = read_manifest(folder, "mend")
    with pytest.raises(MukiError, match=r"has no column \['text'\]"):
        read_shard(folder, shards[0], "mend", ["text"])
    (folder / shards[0].file).unlink()
    with pytest.raises(MukiError, match="listed in the manifest but missing"):
        read_shard(folder, shards[0], "mend")


def test_half_precision_is_stored_as_it_is_and_everything_else_is_compressed(tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).normal(size=(500, 8))
    vectors = {name: fixed_size_lists(numbers.astype(name)) for name in ("float16", "float32")}
    written = write_shard(tmp_path / "a.parquet", pa.table({"id": ["same"] * 500, **vectors}), "")
    group = pq.read_metadata(tmp_path / "a.parquet").row_group(0)
    assert [group.column(number).compression for number in range(3)] == ["ZSTD", "UNCOMPRESSED", "ZSTD"]
    found = read_shard(tmp_path, written, "mend")
    np.testing.assert_array_equal(matrix(found["float16"]), numbers.astype(np.float16))
    assert not found.schema.field("float32").type.value_field.nullable


def test_a_first_look_reads_columns_and_refuses_what_it_can_see_without_a_digest(folder: Path) -> None:
    shards, _ = read_manifest(folder, "mend")
    path = folder / shards[0].file
    assert read_unverified(folder, shards[0], "mend", ["id"]).equals(table().select(["id"]))
    with pytest.raises(MukiError, match=r"has no column \['text'\]"):
        read_unverified(folder, shards[0], "mend", ["text"])
    with pytest.raises(MukiError, match=r"part-00000\.parquet: has 5 rows, but its manifest says 6"):
        read_unverified(folder, replace(shards[0], rows=6), "mend", ["id"])
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(MukiError, match=r"part-00000\.parquet: has .* bytes, but its manifest says"):
        read_unverified(folder, shards[0], "mend", ["id"])
    path.unlink()
    with pytest.raises(MukiError, match="listed in the manifest but missing"):
        read_unverified(folder, shards[0], "mend", ["id"])


def test_what_the_manifest_does_not_name_is_removed_and_never_read(folder: Path) -> None:
    (folder / "part-00007.parquet").write_bytes((folder / "part-00000.parquet").read_bytes())
    shards, _ = read_manifest(folder, "mend")
    assert len(shards) == 2
    (folder / "notes.txt").write_text("a user's own file")
    unseal(folder)
    seal(folder, shards[:1])
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "notes.txt", "part-00000.parquet"]


def test_an_unfinished_or_damaged_table_is_refused(folder: Path) -> None:
    (folder / MANIFEST).write_text("{")
    with pytest.raises(MukiError, match=r"manifest\.json: is not valid JSON"):
        read_manifest(folder, "mend")
    (folder / MANIFEST).write_text(json.dumps({"shards": [{"file": "x"}]}))
    with pytest.raises(MukiError, match="is damaged"):
        read_manifest(folder, "mend")
    unseal(folder)
    with pytest.raises(MukiError, match=r"there is no finished table\. mend"):
        read_manifest(folder, "mend")


def test_publishing_does_not_share_later_writes_with_the_work_folder(tmp_path: Path) -> None:
    source = tmp_path / "work.parquet"
    entry = write_shard(source, table(), "k")
    publish(tmp_path / "out", [StoredShard(tmp_path, entry)], {})
    write_shard(source, table(9), "other")
    shards, _ = read_manifest(tmp_path / "out", "mend")
    assert read_shard(tmp_path / "out", shards[0], "mend").equals(table())


def test_keys_do_not_depend_on_the_order_of_facts() -> None:
    assert canonical_key({"a": 1, "b": [2.5, "ü"]}) == canonical_key({"b": [2.5, "ü"], "a": 1})
    assert canonical_key({"a": 1}) != canonical_key({"a": 2})


def _hold(lock: Path, ready: "multiprocessing.synchronize.Event") -> None:
    with only_one(lock, "working"):
        ready.set()
        multiprocessing.Event().wait(60)


@pytest.mark.parametrize("posix_works", [True, False])
def test_a_file_system_without_flock_is_no_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, posix_works: bool
) -> None:
    def no_locks(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    if not posix_works:
        monkeypatch.setattr(fcntl, "lockf", no_locks)
    with only_one(tmp_path / "lock", "working"):
        pass
    assert ("has no locks" in caplog.text) != posix_works


def test_a_single_file_is_refused_whatever_bit_flips(tmp_path: Path) -> None:
    path = tmp_path / "one.parquet"
    content = pa.table({"id": ["a", "b"], "label": ["x", None], "n": [1, 2]})
    write_table_file(path, content, {"seconds": 3})
    whole = path.read_bytes()
    assert read_table_file(path, None, "Make it").to_pylist() == content.to_pylist()
    for position in range(0, 8 * len(whole), 5):
        flipped = bytearray(whole)
        flipped[position // 8] ^= 1 << position % 8
        path.write_bytes(flipped)
        try:
            read = read_table_file(path, ["id", "label", "n"], "Make it")
        except MukiError:
            continue
        assert read.to_pylist() == content.to_pylist()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(MukiError):
            read_table_file(path, None, "Make it")


def test_no_text_becomes_a_formula() -> None:
    table = pl.DataFrame(
        {"text": ["=cmd|' /C calc'!A0", "+1", "-1", "@x", "\t=1", "plain", "a=b", None], "n": range(8)}
    )
    read = pl.read_csv(spreadsheet_csv(table))
    dangerous = read["text"].str.contains(r"^[=+\-@\t\r]")
    assert not dangerous.any()
    assert read["text"].str.strip_prefix("'").to_list() == table["text"].to_list()
    assert read["n"].to_list() == list(range(8))


def test_a_lock_is_freed_when_its_holder_is_killed(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    holder = context.Process(target=_hold, args=(tmp_path / "lock", ready))
    holder.start()
    assert ready.wait(30)
    with pytest.raises(MukiError, match="another process is working"), only_one(tmp_path / "lock", "working"):
        pass
    holder.kill()
    holder.join()
    with only_one(tmp_path / "lock", "working"):
        pass
