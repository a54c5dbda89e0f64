from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from muki_pipeline.corpus.ids import text_id
from muki_pipeline.corpus.table import content_digest, corpus_shards, read_corpus_shard, with_ids, write_corpus
from muki_pipeline.errors import MukiError
from muki_pipeline.store.folder import FolderStore
from muki_pipeline.store.table import part_name, seal, unseal


def frame(texts: list[str]) -> pl.DataFrame:
    return with_ids(pl.DataFrame({"text": texts}))


def test_equal_texts_have_ids_of_their_own() -> None:
    ids = frame(["x", "y", "x", "x"])["id"]
    assert ids.n_unique() == 4
    assert ids.to_list() == [text_id(text, number) for text, number in [("x", 0), ("y", 0), ("x", 1), ("x", 2)]]


def test_ids_stay_when_the_corpus_is_appended_to() -> None:
    assert frame(["x", "y", "x"])["id"].to_list() == frame(["x", "y", "x", "z", "y"])["id"].to_list()[:3]


def test_an_appended_corpus_keeps_its_full_shards(tmp_path: Path) -> None:
    texts = [f"text {number}" for number in range(10)]
    before = write_corpus(tmp_path, frame(texts), shard_rows=4)
    after = write_corpus(tmp_path, frame([*texts, "one more"]), shard_rows=4)
    assert [shard.rows for shard in after] == [4, 4, 3]
    assert [shard.key for shard in after[:2]] == [shard.key for shard in before[:2]]
    assert after[2].key != before[2].key


def test_ids_stay_when_the_corpus_is_sharded_anew(tmp_path: Path) -> None:
    texts = frame([f"text {number % 4}" for number in range(10)])
    for rows in (3, 10):
        shards = write_corpus(tmp_path, texts, rows)
        read = pa.concat_tables([read_corpus_shard(shard) for shard in shards])
        assert read["id"].to_pylist() == texts["id"].to_list()
        assert read["text"].to_pylist() == texts["text"].to_list()


def test_the_content_digest_sees_where_a_text_ends() -> None:
    def digest(ids: list[str], texts: list[str]) -> str:
        return content_digest(pa.table({"id": ids, "text": texts}))

    assert digest(["a", "b"], ["xy", "z"]) != digest(["a", "b"], ["x", "yz"])
    assert digest(["a"], ["x"]) == digest(["a"], ["x"])


def write(folder: Path, *parts: dict[str, list[str | None]]) -> None:
    schema = pa.schema([("id", pa.string()), ("text", pa.string())])
    tables = [pa.table(part, schema=schema) for part in parts]
    unseal(folder)
    seal(folder, [FolderStore(folder).write(part_name(n), each, "k") for n, each in enumerate(tables)])


def test_duplicate_ids_are_refused_within_and_across_shards(tmp_path: Path) -> None:
    for parts in (
        [{"id": ["a", "b", "a"], "text": ["x", "y", "z"]}],
        [{"id": ["a", "b"], "text": ["x", "y"]}, {"id": ["c", "a"], "text": ["z", "u"]}],
    ):
        write(tmp_path, *parts)
        with pytest.raises(MukiError, match="1 ids occur more than once: 'a'"):
            corpus_shards(tmp_path)


def test_an_empty_corpus_and_null_texts_are_refused(tmp_path: Path) -> None:
    write(tmp_path, {"id": [], "text": []})
    with pytest.raises(MukiError, match="the corpus is empty"):
        corpus_shards(tmp_path)
    write(tmp_path, {"id": ["a", "b"], "text": ["x", None]})
    with pytest.raises(MukiError, match="1 null values in column text"):
        read_corpus_shard(corpus_shards(tmp_path)[0])
