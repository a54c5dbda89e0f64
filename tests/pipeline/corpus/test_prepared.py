"""A corpus of other settings or sources than today's is told before hours are spent on it."""

import re
import shutil
from pathlib import Path

import pytest

from muki_pipeline import config
from muki_pipeline.corpus import prepare as module
from muki_pipeline.corpus.prepared import changed_sources
from muki_pipeline.errors import MukiError
from muki_stages import label, prepare
from tests import tiny


@pytest.fixture
def project(tmp_path: Path) -> Path:
    path = tiny.save_project(tmp_path / "project")
    prepare.main(path)
    return path


def changed(path: Path) -> list[str]:
    params, layout = config.load(path)
    return changed_sources(params.prepare, layout)


def test_a_changed_source_is_told_and_a_missing_one_is_not(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert changed(project) == []
    source = project.parent / "test.csv"
    source.write_text(source.read_text() + 'oak,"w1"\n')
    assert changed(project) == ["test.csv"]
    label.main("one", project)
    assert "test.csv has changed, or is new or gone, since the corpus was made" in re.sub(
        r"\s+", " ", capsys.readouterr().err
    )
    prepare.main(project)
    assert changed(project) == []
    source.touch()
    assert changed(project) == [], "another time and the same content"
    source.unlink()
    (project.parent / "corpus.csv").unlink()
    assert changed(project) == []


def test_a_file_that_came_or_went_is_told(project: Path) -> None:
    (project.parent / "texts").mkdir()
    for name in ("a", "b"):
        (project.parent / "texts" / f"{name}.csv").write_text(f"body\nw1 {name}\n")
    tiny.change(project, "prepare", extra=[{"source": "texts/*.csv", "text": "body"}])
    prepare.main(project)
    assert changed(project) == []
    last = project.parent / "texts" / "b.csv"
    last.rename(project.parent / "texts" / "c.csv")
    assert changed(project) == ["texts/b.csv", "texts/c.csv"]
    last.with_name("c.csv").rename(last)
    shutil.copytree(project.parent, project.parent.with_name("copy"))
    assert changed(project.parent.with_name("copy") / "params.yaml") == []


def test_other_settings_are_refused(project: Path) -> None:
    tiny.change(project, "prepare", shard_rows=9, seed=4)
    with pytest.raises(MukiError, match=r"another prepare\.shard_rows, prepare\.seed than .* muki-pipeline prepare"):
        label.main("one", project)
    prepare.main(project)
    label.main("one", project)


def test_tables_from_elsewhere_are_not_judged(project: Path) -> None:
    """DVC, or a person, has put others in their place."""
    _, layout = config.load(project)
    layout.test.unlink()
    tiny.change(project, "prepare", seed=4)
    assert changed(project) == []
    (layout.work / "prepared.json").unlink()
    assert changed(project) == []


def stop(*_: object) -> None:
    raise KeyboardInterrupt


def append(source: Path, row: str) -> None:
    source.write_text(source.read_text() + row)


@pytest.mark.parametrize("moment", ["record_corpus", "write_table_file"])
def test_an_interrupted_run_is_told(project: Path, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    params, layout = config.load(project)
    append(project.parent / "corpus.csv", 'oak,"w1 w2"\n')
    before = shutil.copytree(layout.root / "data", layout.root / "before", ignore=shutil.ignore_patterns(".work"))
    with monkeypatch.context() as patched:
        patched.setattr(module, moment, stop)
        with pytest.raises(KeyboardInterrupt):
            module.prepare(params.prepare, layout)
        with pytest.raises(MukiError, match="prepare was interrupted"):
            changed(project)
        patched.setattr(module, "write_corpus_parts", stop)  # a second run ends before it has written anything
        with pytest.raises(KeyboardInterrupt):
            module.prepare(params.prepare, layout)
    with pytest.raises(MukiError, match="prepare was interrupted"):
        label.main("one", project)
    shutil.copytree(before, layout.root / "data", dirs_exist_ok=True)  # as dvc checkout
    assert changed(project) == ["corpus.csv"]
    label.main("one", project)
    prepare.main(project)
    assert changed(project) == []


def test_a_damaged_record_is_written_anew(project: Path) -> None:
    _, layout = config.load(project)
    (layout.work / "prepared.json").write_text("{")
    with pytest.raises(MukiError, match=r"prepared\.json: .* Run muki-pipeline prepare"):
        changed(project)
    prepare.main(project)
    assert changed(project) == []


def test_a_run_that_ends_before_it_writes_changes_nothing(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    params, layout = config.load(project)
    append(project.parent / "test.csv", 'oak,"w1"\n')
    with monkeypatch.context() as patched:
        patched.setattr(module, "write_corpus_parts", stop)
        with pytest.raises(KeyboardInterrupt):
            module.prepare(params.prepare, layout)
    assert changed(project) == ["test.csv"]


def test_what_is_appended_while_sources_are_read_is_told(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, check = project.parent / "corpus.csv", module._Corpus.check

    def check_and_append(corpus: module._Corpus) -> None:
        check(corpus)
        append(source, 'oak,"w1 w2"\n')

    monkeypatch.setattr(module._Corpus, "check", check_and_append)
    prepare.main(project)
    assert changed(project) == ["corpus.csv"]
