from pathlib import Path

import pytest

from pipeline.tables.folders import is_sealed, replacing_folder


def test_a_kill_between_the_two_renames_loses_neither_folder(tmp_path: Path) -> None:
    folder = tmp_path / "student"
    with replacing_folder(folder) as unfinished:
        (unfinished / "a").write_text("old")
    folder.rename(tmp_path / ".student.old")  # what a kill there leaves
    with pytest.raises(FileNotFoundError), replacing_folder(folder) as unfinished:
        (unfinished / "missing" / "a").write_text("half of")
    assert (folder / "a").read_text() == "old"
    assert is_sealed(folder)
    with replacing_folder(folder) as unfinished:
        (unfinished / "a").write_text("new")
    assert (folder / "a").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["student"]
