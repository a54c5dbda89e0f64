from pathlib import Path

import numpy as np
import pytest

from muki_pipeline import config
from muki_pipeline.embedding import run
from muki_pipeline.embedding.run import embed_corpus
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
