import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from muki_pipeline import config
from muki_pipeline.embedding import run
from muki_pipeline.embedding.run import embed_corpus
from muki_pipeline.errors import MukiError
from muki_pipeline.evaluation.routed_teachers import open_routed_teachers
from muki_pipeline.store import schema
from muki_pipeline.supervision.integrate import integrate
from tests import tiny


def test_names_are_found_by_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With other threads their last bits would differ, and everything after them would be made again."""
    path = tiny.save_project(tmp_path)
    tiny.label(path)
    params, layout = config.load(path)
    [shard] = layout.label_names.glob("*.parquet")
    before = shard.read_bytes()
    embed_names = run.embed_names
    monkeypatch.setattr(run, "embed_names", lambda *args: embed_names(*args) + np.float32(1e-7))
    embed_corpus(params, layout)
    assert shard.read_bytes() == before
    aliases = params.integrate.model_copy(update={"aliases": {"one": {"apple": "Apfel"}}})
    embed_corpus(params.model_copy(update={"integrate": aliases}), layout)
    assert shard.read_bytes() != before


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ("get_disposable-card", "get disposable card"),
        ("rec.sport.hockey", "rec sport hockey"),
        ("cancelOrder", "cancel Order"),
        ("खाता_बंद करें", "खाता बंद करें"),
        ("ยกเลิก/คำสั่งซื้อ", "ยกเลิก คำสั่งซื้อ"),
        ("comp.lang.c++", "comp lang c++"),
        ("C#", "C#"),
        ("food+drink #1", "food drink 1"),
        ("a++b", "a b"),
        ("?!", "?!"),
    ],
)
def test_a_name_is_read_as_words(label: str, words: str) -> None:
    assert run.readable(label) == words


def test_a_prompt_goes_the_whole_way(tmp_path: Path) -> None:
    path = tiny.save_project(tmp_path, integrate={}, embed={"max_length": 24, "prompt": "w9 "})
    tiny.label(path)
    params, layout = config.load(path)
    integrate(params, layout, layout.golden)
    assert len(open_routed_teachers(params, layout).probs(["w1 w2", "w3"])) == 2


def test_names_of_other_settings_are_refused(tmp_path: Path) -> None:
    """A run that was killed between both tables leaves the older names."""
    path = tiny.save_project(tmp_path, integrate={})
    tiny.label(path)
    _, layout = config.load(path)
    shutil.copytree(layout.label_names, tmp_path / "older")
    for change in ({"max_length": 32}, {"prompt": "w9 "}):
        tiny.change(path, "embed", **change)
        embed_corpus(*config.load(path))
        shutil.copytree(tmp_path / "older", layout.label_names, dirs_exist_ok=True)
        with pytest.raises(MukiError, match=r"made .*with other settings.*than the texts' embeddings"):
            integrate(*config.load(path), layout.golden)


def test_names_that_were_read_otherwise_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tiny.save_project(tmp_path, integrate={})
    tiny.label(path)
    monkeypatch.setattr(schema, "LABEL_NAMES_VERSION", schema.LABEL_NAMES_VERSION + 1)
    params, layout = config.load(path)
    with pytest.raises(MukiError, match="another version than the texts' embeddings"):
        integrate(params, layout, layout.golden)
    assert embed_corpus(params, layout).new_rows == 0, "the texts' embeddings stay"
    integrate(params, layout, layout.golden)


def test_a_table_without_a_newer_setting_is_the_one_of_its_default(tmp_path: Path) -> None:
    path = tiny.save_project(tmp_path, integrate={})
    tiny.label(path)
    params, layout = config.load(path)
    manifest = layout.embeddings / "manifest.json"
    content = json.loads(manifest.read_text())
    assert content["settings"].pop("prompt") is None
    manifest.write_text(json.dumps(content))
    integrate(params, layout, layout.golden)
    tiny.change(path, "embed", prompt="w9 ")
    with pytest.raises(MukiError, match="made with other settings"):
        integrate(*config.load(path), layout.golden)
