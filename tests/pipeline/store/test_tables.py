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
from muki_pipeline.store.columns import fixed_size_lists, matrix, spreadsheet_csv
from muki_pipeline.store.files import only_one
from muki_pipeline.store.folder import FolderStore
from muki_pipeline.store.keys import canonical_key
from muki_pipeline.store.table import (
    MANIFEST,
    Table,
    part_name,
    publish,
    read_table_file,
    seal,
    unseal,
    write_table_file,
)


def table(rows: int = 5) -> pa.Table:
    values = np.arange(rows * 3, dtype=np.float32).reshape(rows, 3)
    return pa.table({"id": [f"i{row}" for row in range(rows)], "probs": fixed_size_lists(values)})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shards = [FolderStore(tmp_path).write(part_name(n), table(), f"key{n}", {"n": n}) for n in range(2)]
    seal(tmp_path, shards, {"fact": 7})
    return tmp_path


def test_a_table_reads_back(folder: Path) -> None:
    opened = Table.open(folder, "mend")
    assert [(shard.file, shard.rows, shard.key) for shard in opened.shards] == [
        ("part-00000.parquet", 5, "key0"),
        ("part-00001.parquet", 5, "key1"),
    ]
    assert (opened.rows, opened.facts) == (10, {"fact": 7})
    read = opened.shards[1].read()
    assert read.equals(table())
    assert opened.frame(["id"])["id"].to_list() == [f"i{row % 5}" for row in range(10)]
    assert opened.shards[1].footer() == {"n": 1}
    np.testing.assert_array_equal(matrix(read["probs"]), np.arange(15, dtype=np.float32).reshape(5, 3))


def test_some_rows_are_those_of_the_whole_table_in_the_order_asked_for(tmp_path: Path) -> None:
    rows = [4, 0, 6]  # one shard has none
    parts = [pa.table({"id": [f"{part}-{row}" for row in range(count)]}) for part, count in enumerate(rows)]
    seal(tmp_path, [FolderStore(tmp_path).write(part_name(n), part, f"k{n}") for n, part in enumerate(parts)], {})
    opened = Table.open(tmp_path, "mend")
    asked = np.array([9, 0, 3, 4, 3])
    assert opened.take(asked, ["id"])["id"].to_list() == opened.frame(["id"])["id"][asked].to_list()
    (tmp_path / part_name(2)).write_bytes(b"damaged")
    assert opened.take(np.array([3]), ["id"])["id"].to_list() == ["0-3"]


def test_polars_sees_arrays(folder: Path) -> None:
    frame = pl.read_parquet(folder / "part-00000.parquet")
    assert frame.schema["probs"] == pl.Array(pl.Float32, 3)


@pytest.mark.parametrize("position", [4, 100, -9])
def test_a_flipped_byte_is_refused_by_name(folder: Path, position: int) -> None:
    path = folder / "part-00001.parquet"
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)
    shards = Table.open(folder, "mend").shards
    with pytest.raises(MukiError, match=r"part-00001\.parquet: has SHA-256 .* file was changed\. mend"):
        shards[1].read()


def test_a_file_cut_short_is_refused_by_name(folder: Path) -> None:
    path = folder / "part-00000.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(MukiError, match=r"part-00000\.parquet: has .* bytes, but its manifest says"):
        Table.open(folder, "mend").shards[0].read()


def test_a_missing_file_and_a_missing_column_are_refused(folder: Path) -> None:
    shards = Table.open(folder, "mend").shards
    with pytest.raises(MukiError, match=r"has no column \['text'\]"):
        shards[0].read(["text"])
    (folder / shards[0].file).unlink()
    with pytest.raises(MukiError, match="listed in the manifest but missing"):
        shards[0].read()


def test_half_precision_is_stored_as_it_is_and_everything_else_is_compressed(tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).normal(size=(500, 8))
    vectors = {name: fixed_size_lists(numbers.astype(name)) for name in ("float16", "float32")}
    written = FolderStore(tmp_path).write("a.parquet", pa.table({"id": ["same"] * 500, **vectors}), "")
    group = pq.read_metadata(tmp_path / "a.parquet").row_group(0)
    assert [group.column(number).compression for number in range(3)] == ["ZSTD", "UNCOMPRESSED", "ZSTD"]
    found = written.read()
    np.testing.assert_array_equal(matrix(found["float16"]), numbers.astype(np.float16))
    assert not found.schema.field("float32").type.value_field.nullable


def test_a_first_look_reads_columns_and_refuses_what_it_can_see_without_a_digest(folder: Path) -> None:
    shard = Table.open(folder, "mend").shards[0]
    path = folder / shard.file
    assert shard.read(["id"], verify=False).equals(table().select(["id"]))
    with pytest.raises(MukiError, match=r"has no column \['text'\]"):
        shard.read(["text"], verify=False)
    with pytest.raises(MukiError, match=r"part-00000\.parquet: has 5 rows, but its manifest says 6"):
        replace(shard, rows=6).read(["id"], verify=False)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(MukiError, match=r"part-00000\.parquet: has .* bytes, but its manifest says"):
        shard.read(["id"], verify=False)
    path.unlink()
    with pytest.raises(MukiError, match="listed in the manifest but missing"):
        shard.read(["id"], verify=False)


def test_what_the_manifest_does_not_name_is_removed_and_never_read(folder: Path) -> None:
    (folder / "part-00007.parquet").write_bytes((folder / "part-00000.parquet").read_bytes())
    shards = Table.open(folder, "mend").shards
    assert len(shards) == 2
    (folder / "notes.txt").write_text("a user's own file")
    unseal(folder)
    seal(folder, shards[:1])
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "notes.txt", "part-00000.parquet"]


def test_an_unfinished_or_damaged_table_is_refused(folder: Path) -> None:
    (folder / MANIFEST).write_text("{")
    with pytest.raises(MukiError, match=r"manifest\.json: is not valid JSON"):
        Table.open(folder, "mend")
    (folder / MANIFEST).write_text(json.dumps({"shards": [{"file": "x"}]}))
    with pytest.raises(MukiError, match="is damaged"):
        Table.open(folder, "mend")
    unseal(folder)
    with pytest.raises(MukiError, match=r"there is no finished table\. mend"):
        Table.open(folder, "mend")


def test_publishing_does_not_share_later_writes_with_the_work_folder(tmp_path: Path) -> None:
    work = FolderStore(tmp_path)
    publish(tmp_path / "out", [work.write("work.parquet", table(), "k")], {})
    work.write("work.parquet", table(9), "other")
    assert Table.open(tmp_path / "out", "mend").shards[0].read().equals(table())


@pytest.mark.parametrize("damage", ["cut", "removed", "another's", "unreadable"])
def test_finished_work_is_found_whole_or_not_at_all(tmp_path: Path, damage: str) -> None:
    work = FolderStore(tmp_path / "work")
    assert work.find("k") is None
    stored = work.finish("k", table(), {"fact": 1})
    assert work.find("k") == stored
    assert (stored.read().equals(table()), stored.footer()) == (True, {"fact": 1})
    data, marker = work.folder / "k.parquet", work.folder / "k.json"
    if damage == "cut":
        data.write_bytes(data.read_bytes()[:-1])
    elif damage == "removed":
        data.unlink()
    elif damage == "another's":
        marker.write_text(marker.read_text().replace('"key": "k"', '"key": "other"'))
    else:
        marker.write_text("{")
    assert work.find("k") is None


def test_a_manifest_cannot_lead_out_of_its_folder(folder: Path) -> None:
    outside = FolderStore(folder.parent).write("outside.parquet", table(), "k")
    entry = outside.entry | {"file": "../outside.parquet"}
    (folder / MANIFEST).write_text(json.dumps({"shards": [entry]}))
    [shard] = Table.open(folder, "mend").shards
    for use in (shard.read, shard.footer, shard.is_intact):
        with pytest.raises(MukiError, match="which is not a file name"):
            use()


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
