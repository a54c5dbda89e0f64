from pathlib import Path

import polars as pl
import pytest
from pydantic import ValidationError

from muki_pipeline.config import Prepare
from muki_pipeline.corpus.prepare import SHARED, prepare
from muki_pipeline.errors import MukiError
from muki_pipeline.layout import Layout
from muki_pipeline.store.table import Table


def settings(root: Path, rows: list[tuple[str, str]], **others: object) -> Prepare:
    pl.DataFrame(rows, schema=["topic", "body"], orient="row").write_csv(root / "all.csv")
    source = {"source": "all.csv", "text": "body", "label": "topic"}
    return Prepare.model_validate({"corpus": source, "test": source, "shard_rows": 4, **others})


ROWS = [(topic, f"{topic} {number}") for number in range(6) for topic in "abc"]


def test_the_corpus_and_what_trains_teachers_do_not_overlap(tmp_path: Path) -> None:
    rows = [*ROWS, *ROWS]  # every text twice
    counts = prepare(settings(tmp_path, rows, labels=["a", "b"], rows_per_label=3), Layout(tmp_path))
    layout = Layout(tmp_path)
    corpus, gold, rest = (
        pl.read_parquet(path) for path in (layout.corpus / "*.parquet", layout.corpus_gold, layout.teacher_train)
    )
    assert gold["label"].value_counts(sort=True)["count"].to_list() == [3, 3]
    assert gold["id"].to_list() == corpus["id"].to_list()
    assert not set(corpus["text"]) & set(rest["text"])
    assert set(rest["label"]) == {"a", "b"}
    assert counts == {"corpus": 6, "corpus_gold": 6, "teacher_train": len(rest), "test": 24, SHARED: 12}


def test_the_same_seed_draws_the_same_rows(tmp_path: Path) -> None:
    drawn = []
    for seed in (0, 0, 1):
        prepare(settings(tmp_path, ROWS, rows_per_label=2, seed=seed), Layout(tmp_path))
        drawn.append([shard.key for shard in Table.open(Layout(tmp_path).corpus, "").shards])
    assert drawn[0] == drawn[1] != drawn[2]


def test_without_a_number_every_row_is_corpus(tmp_path: Path) -> None:
    counts = prepare(settings(tmp_path, ROWS), Layout(tmp_path))
    assert counts == {"corpus": 18, "corpus_gold": 18, "test": 18, SHARED: 18}
    assert not Layout(tmp_path).teacher_train.exists()


def test_gold_labels_of_an_earlier_preparation_are_removed(tmp_path: Path) -> None:
    prepare(settings(tmp_path, ROWS, rows_per_label=2), Layout(tmp_path))
    prepare(settings(tmp_path, ROWS), Layout(tmp_path))
    assert not Layout(tmp_path).teacher_train.exists()


def test_labels_that_do_not_occur_or_are_too_few_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MukiError, match="no row is labelled 'd'"):
        prepare(settings(tmp_path, ROWS, labels=["a", "d"]), Layout(tmp_path))
    with pytest.raises(MukiError, match="fewer than rows_per_label = 7 rows for 'a', 'b', 'c'"):
        prepare(settings(tmp_path, ROWS, rows_per_label=7), Layout(tmp_path))


def test_choosing_by_label_needs_a_label_column() -> None:
    with pytest.raises(ValidationError, match=r"corpus\.label must name its column"):
        Prepare.model_validate({"corpus": {"source": "x.csv", "text": "t"}, "rows_per_label": 3})


def test_teachers_may_see_the_corpus_as_in_the_paper(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    prepare(settings(tmp_path, ROWS, rows_per_label=2, teachers_see_corpus=True), layout)
    seen = pl.read_parquet(layout.teacher_train)["text"].to_list()
    assert sorted(seen) == sorted(text for _, text in ROWS)
    assert set(pl.read_parquet(layout.corpus / "*.parquet")["text"]) < set(seen)
    prepare(settings(tmp_path, ROWS, teachers_see_corpus=True), layout)
    assert len(pl.read_parquet(layout.teacher_train)) == len(ROWS)


@pytest.mark.parametrize("folder", ["corpus", "eval", "eval/sub"])
@pytest.mark.parametrize("part", ["corpus", "test"])
def test_a_source_in_a_folder_that_would_be_overwritten_is_refused_and_kept(
    tmp_path: Path, folder: str, part: str
) -> None:
    given = settings(tmp_path, ROWS)
    own = tmp_path / "data" / folder / "mine.csv"
    own.parent.mkdir(parents=True)
    (tmp_path / "all.csv").rename(own)
    (tmp_path / "all.csv").write_bytes(own.read_bytes())
    source = getattr(given, part).model_copy(update={"source": f"data/{folder}/mine.csv"})
    with pytest.raises(MukiError, match="which prepare overwrites"):
        prepare(given.model_copy(update={part: source}), Layout(tmp_path))
    assert own.exists()


def test_extra_texts_are_new_and_have_no_labels(tmp_path: Path) -> None:
    pl.DataFrame({"said": ["a 0", "new", "new", "of the test"]}).write_csv(tmp_path / "first.csv")
    pl.DataFrame({"said": ["new", "another"]}).write_csv(tmp_path / "second.csv")
    pl.DataFrame({"body": ["of the test"], "topic": ["a"]}).write_csv(tmp_path / "test.csv")
    extra = [{"source": f"{name}.csv", "text": "said"} for name in ("first", "second")]
    test = {"source": "test.csv", "text": "body", "label": "topic"}
    counts = prepare(settings(tmp_path, ROWS, extra=extra, test=test), Layout(tmp_path))
    assert counts == {
        "corpus": 20,
        "of them from first.csv": 1,
        "of them from second.csv": 1,
        "corpus_gold": 18,
        "test": 1,
    }
    layout = Layout(tmp_path)
    corpus = pl.read_parquet(layout.corpus / "*.parquet")
    assert corpus["text"].to_list()[18:] == ["new", "another"]
    assert pl.read_parquet(layout.corpus_gold)["id"].to_list() == corpus["id"].to_list()[:18]
    with pytest.raises(ValidationError, match="extra sources are unlabelled"):
        settings(tmp_path, ROWS, extra=[{"source": "a.csv", "text": "b", "label": "c"}])


def test_the_work_folder_is_kept_out_of_git(tmp_path: Path) -> None:
    prepare(settings(tmp_path, ROWS), Layout(tmp_path))
    assert (tmp_path / "data" / ".work" / ".gitignore").read_text() == "*\n"


def test_texts_appended_to_one_source_leave_the_shards_of_the_others(tmp_path: Path) -> None:
    pl.DataFrame({"en": ["a", "b", "c"], "de": ["d", "e", "f"]}).write_csv(tmp_path / "two.csv")
    (tmp_path / "main.csv").write_text("text\nw\nx\ny\nz\nv\n")
    extra = [{"source": "two.csv", "text": column} for column in ("en", "de")]
    corpus = {"source": "main.csv", "text": "text"}
    wanted = Prepare.model_validate({"corpus": corpus, "extra": extra, "shard_rows": 4})
    layout = Layout(tmp_path)
    assert prepare(wanted, layout) == {"corpus": 11, "of them from two.csv": 6}
    before = [shard.key for shard in Table.open(layout.corpus, "").shards]
    with (tmp_path / "main.csv").open("a") as source:
        source.write("u\n")
    assert prepare(wanted, layout)["corpus"] == 12
    after = [shard.key for shard in Table.open(layout.corpus, "").shards]
    assert [one == other for one, other in zip(before, after, strict=True)] == [True, False, True, True]
