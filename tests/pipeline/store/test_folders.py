import shutil
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from pathlib import Path

import pytest

from muki_pipeline.errors import MukiError
from muki_pipeline.store.files import only_one
from muki_pipeline.store.folders import cache, check_replaceable, copy, is_sealed, oldest, replacing_folder, set_aside


def test_a_kill_between_the_two_renames_loses_neither_folder(tmp_path: Path) -> None:
    folder = tmp_path / "student"
    with replacing_folder(folder) as unfinished:
        (unfinished / "a").write_text("old")
    folder.rename(tmp_path / ".student.old")  # what a kill there leaves
    with pytest.raises(FileNotFoundError), replacing_folder(folder) as unfinished:
        (unfinished / "missing" / "a").write_text("half of")
    assert [path.name for path in tmp_path.iterdir()] == ["student"]
    assert (folder / "a").read_text() == "old"
    assert is_sealed(folder)
    with replacing_folder(folder) as unfinished:
        (unfinished / "a").write_text("new")
    assert (folder / "a").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["student"]


def test_what_is_kept_is_whole_and_its_weights_are_links(tmp_path: Path) -> None:
    folder, kept = tmp_path / "student", tmp_path / "work" / "last" / "key"
    for content in ("old", "new"):
        with replacing_folder(folder) as unfinished:
            (unfinished / "in").mkdir()
            (unfinished / "in" / "a.safetensors").write_text(content)
            (unfinished / "config.json").write_text("{}")
        cache(folder, kept)
    weights = Path("in", "a.safetensors")
    inode = (kept / weights).stat().st_ino
    cache(folder, kept)
    assert (kept / weights).stat().st_ino == inode == (folder / weights).stat().st_ino, "links, made once"
    with (folder / "config.json").open("a") as file:
        file.write(" ")  # as an editor does, in place
    assert is_sealed(kept)
    for damaged in ("{", "[]"):
        (kept / "sha256.json").write_text(damaged)
        (folder / "config.json").write_text("{}")
        cache(folder, kept)
        assert is_sealed(kept)
    shutil.rmtree(folder)
    copy(kept, folder)
    assert (folder / weights).read_text() == "new"
    assert is_sealed(folder)


def test_those_that_were_used_last_stay(tmp_path: Path) -> None:
    folder, kept = tmp_path / "student", tmp_path / "last"
    with replacing_folder(folder) as unfinished:
        (unfinished / "a").write_text("saved")
    for name in ("first", "second", "third", "first"):
        cache(folder, kept / name)
    (kept / "model.safetensors").write_text("of an older version, which kept one")
    assert oldest(kept, 2) == [kept / "second", kept / "model.safetensors"]


def test_what_was_changed_by_hand_is_moved_away_and_never_removed(tmp_path: Path) -> None:
    folder, kept = tmp_path / "student", tmp_path / "work" / "last"
    assert set_aside(folder, kept) is None
    for number in (1, 2):
        with replacing_folder(folder) as unfinished:
            (unfinished / "a").write_text("saved")
        assert set_aside(folder, kept) is None
        (folder / "own").write_text(str(number))
        moved = set_aside(folder, kept)
        assert moved == tmp_path / "work" / f"student-changed-{number}"
        assert (moved / "own").read_text() == str(number)
        assert not folder.exists()


def test_nothing_is_written_into_a_sealed_folder(tmp_path: Path) -> None:
    folder = tmp_path / "student"
    with replacing_folder(folder) as unfinished:
        (unfinished / "a").write_text("saved")
    check_replaceable(tmp_path / "export", "mark", "an export")
    with pytest.raises(MukiError, match=r"export: lies in .*student, which must stay as it was written"):
        check_replaceable(folder / "onnx" / "export", "mark", "an export")


def test_who_waits_for_a_lock_has_it_when_it_is_free(tmp_path: Path) -> None:
    lock = tmp_path / "work.lock"

    def work() -> str:
        with only_one(lock, "working", waits=True):
            return "done"

    with ThreadPoolExecutor(1) as pool:
        with only_one(lock, "working"):
            with pytest.raises(MukiError, match="another process is working"), only_one(lock, "working"):
                pass
            waiting = pool.submit(work)
            with pytest.raises(NotYet):
                waiting.result(timeout=0.2)
        assert waiting.result(timeout=30) == "done"
