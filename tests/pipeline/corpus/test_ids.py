import random
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from muki_pipeline.blocks import Source
from muki_pipeline.config import Prepare
from muki_pipeline.corpus.ids import Ids, first_ids, place_of, text_id
from muki_pipeline.corpus.prepare import prepare
from muki_pipeline.corpus.table import corpus_shards, read_corpus_shard, with_ids, write_corpus
from muki_pipeline.errors import MukiError
from muki_pipeline.layout import Layout


def by_hand(texts: list[str]) -> list[str]:
    return [text_id(text, texts[:row].count(text)) for row, text in enumerate(texts)]


@given(st.lists(st.lists(st.sampled_from("abcd"), max_size=6), max_size=6))
def test_ids_do_not_depend_on_the_parts(parts: list[list[str]]) -> None:
    ids = Ids()
    given_parts = [ids.add(pl.DataFrame({"text": part}, schema={"text": pl.String})) for part in parts]
    assert [value for part in given_parts for value in part["id"]] == by_hand([text for part in parts for text in part])


@given(st.lists(st.sampled_from("abcd"), max_size=6), st.lists(st.sampled_from("abcdef"), max_size=6))
def test_what_is_new_is_told(before: list[str], texts: list[str]) -> None:
    ids = Ids()
    ids.add(pl.DataFrame({"text": before}, schema={"text": pl.String}))
    first = first_ids(pl.Series(texts, dtype=pl.String))
    assert ids.known(first).tolist() == [text in before for text in texts]
    assert ids.new(first).tolist() == [text not in [*before, *texts[:row]] for row, text in enumerate(texts)]


def corpus(layout: Layout) -> list[tuple[str, str]]:
    tables = [read_corpus_shard(shard) for shard in corpus_shards(layout.corpus)]
    return [(row["id"], row["text"]) for table in tables for row in table.to_pylist()]


def test_files_of_a_pattern_are_read_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("muki_pipeline.corpus.readers._PART_ROWS", 3)
    texts = [random.Random(row).choice("abcdefgh") for row in range(40)]
    for number in range(4):
        part = pl.DataFrame({"body": texts[10 * number : 10 * number + 10]})
        if number == 2:
            part.write_csv(tmp_path / f"part-{number}.csv")
        else:
            part.write_parquet(tmp_path / f"part-{number}.parquet")
    layout = Layout(tmp_path)
    done = prepare(Prepare(corpus=Source(source="part-*", text="body"), shard_rows=7), layout)
    assert done == {"corpus": 40}
    assert corpus(layout) == list(zip(by_hand(texts), texts, strict=True))
    assert [shard.rows for shard in corpus_shards(layout.corpus)] == [7, 7, 7, 7, 7, 5]


def test_a_fault_in_the_last_part_leaves_the_corpus_that_is_there(tmp_path: Path) -> None:
    for number, last in enumerate(["x", None]):
        pl.DataFrame({"body": ["a", "b", last]}).write_parquet(tmp_path / f"part-{number}.parquet")
    layout = Layout(tmp_path)
    prepare(Prepare(corpus=Source(source="part-0.parquet", text="body")), layout)
    before = corpus(layout)
    with pytest.raises(MukiError, match=r"part-1\.parquet: column body is empty \(null\) in row 3"):
        prepare(Prepare(corpus=Source(source="part-*.parquet", text="body")), layout)
    assert corpus(layout) == before


def test_a_pattern_without_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MukiError, match=r"texts/\*\.parquet: no file fits this pattern"):
        prepare(Prepare(corpus=Source(source="texts/*.parquet", text="body")), Layout(tmp_path))
    (tmp_path / "data" / "corpus").mkdir(parents=True)
    (tmp_path / "data" / "corpus" / "x.parquet").touch()
    with pytest.raises(MukiError, match="which prepare overwrites"):
        prepare(Prepare(corpus=Source(source="data/corpus/*.parquet", text="body")), Layout(tmp_path))


def test_an_id_is_found_by_the_index(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    frame = with_ids(pl.DataFrame({"text": [f"text {row}" for row in range(500)]}))
    write_corpus(layout.corpus, frame, 60)
    for row in (0, 59, 60, 499):
        assert place_of(layout, frame["id"][row]) == row // 60
    for unknown in ("0" * 32, "not an id", frame["id"][0][:31]):
        with pytest.raises(MukiError, match="no text has the id"):
            place_of(layout, unknown)


def test_a_damaged_index_is_made_again(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    write_corpus(layout.corpus, with_ids(pl.DataFrame({"text": ["a", "b"]})), 1)
    assert place_of(layout, text_id("b", 0)) == 1
    [index] = (layout.work / "index").glob("*.parquet")
    index.write_bytes(index.read_bytes()[:-9])
    assert place_of(layout, text_id("b", 0)) == 1


def test_the_index_is_made_again_for_another_corpus(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    write_corpus(layout.corpus, with_ids(pl.DataFrame({"text": ["a"]})), 60)
    assert place_of(layout, text_id("a", 0)) == 0
    write_corpus(layout.corpus, with_ids(pl.DataFrame({"text": ["c", "b"]})), 1)
    assert place_of(layout, text_id("b", 0)) == 1
    with pytest.raises(MukiError):
        place_of(layout, text_id("a", 0))
