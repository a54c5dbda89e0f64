"""A text source -> the corpus, its gold labels, the test set and the teachers' training part."""

import polars as pl

from pipeline import store
from pipeline.config import Prepare
from pipeline.corpus import with_ids, write_corpus
from pipeline.errors import MukiError, first
from pipeline.layout import Layout
from pipeline.sources import read_source


def choose(frame: pl.DataFrame, settings: Prepare) -> tuple[pl.DataFrame, pl.DataFrame | None]:
    """Split a source into the corpus and the labelled rest that trains the demo's teachers.

    With `rows_per_label` the corpus is that many rows of each label, drawn by `seed`; the rest is every other row whose
    text is not in the corpus. Without it every row is corpus and there is no rest. With `teachers_see_corpus` the rest
    is every row.

    Raises:
        MukiError: A label of `labels` does not occur, or has too few rows.
    """
    frame = keep_labels(frame, settings.labels, settings.corpus.source)
    wanted = settings.rows_per_label
    if wanted is None:
        return frame, frame if settings.teachers_see_corpus else None
    counts = frame["label"].value_counts()
    if not (short := counts.filter(pl.col("count") < wanted)).is_empty():
        raise MukiError(
            f"fewer than rows_per_label = {wanted} rows for {first(short['label'].sort().to_list())}",
            where=settings.corpus.source,
            fix="Lower prepare.rows_per_label",
        )
    drawn = pl.int_range(pl.len()).shuffle(seed=settings.seed).over("label") < wanted
    corpus, rest = frame.filter(drawn), frame.filter(~drawn)
    if settings.teachers_see_corpus:
        return corpus, frame
    return corpus, rest.filter(~pl.col("text").is_in(corpus["text"].implode()))


def keep_labels(frame: pl.DataFrame, labels: list[str] | None, where: str) -> pl.DataFrame:
    """The rows that bear one of `labels` (all rows when None).

    Raises:
        MukiError: One of them does not occur.
    """
    if labels is None:
        return frame
    if absent := sorted(set(labels) - set(frame["label"])):
        raise MukiError(f"no row is labelled {first(absent)}", where=where, fix="Correct prepare.labels")
    return frame.filter(pl.col("label").is_in(labels))


def prepare(settings: Prepare, layout: Layout) -> dict[str, int]:
    """Write the corpus, its gold labels, the test set and the teachers' training part; returns their row counts.

    Raises:
        MukiError: See `read_source` and `choose`.
    """
    corpus, rest = choose(read_source(settings.corpus, layout.root), settings)
    corpus = with_ids(corpus)
    tables = {layout.corpus_gold: corpus.select("id", "label") if settings.corpus.label else None}
    tables[layout.teacher_train] = with_ids(rest) if rest is not None else None
    if settings.test is not None:
        test = keep_labels(read_source(settings.test, layout.root), settings.labels, settings.test.source)
        tables[layout.test] = with_ids(test)
    write_corpus(layout.corpus, corpus, settings.shard_rows)
    layout.gold.mkdir(parents=True, exist_ok=True)
    for path in layout.gold.iterdir():
        path.unlink()
    for path, frame in tables.items():
        if frame is not None:
            table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
            store.write_shard(path, table, "")
    rows = {path.stem: len(frame) for path, frame in tables.items() if frame is not None}
    return {"corpus": len(corpus), **rows}
