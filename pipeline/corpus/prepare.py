"""Text sources become the corpus, its gold labels, the test set and the teachers' training part."""

from collections.abc import Mapping

import polars as pl

from pipeline.config import Prepare
from pipeline.corpus.readers import read_source
from pipeline.corpus.table import with_ids, write_corpus
from pipeline.errors import MukiError, first
from pipeline.layout import Layout
from pipeline.models import locations
from pipeline.tables import files
from pipeline.tables.columns import arrow
from pipeline.tables.shards import write_table_file


def split_source(frame: pl.DataFrame, settings: Prepare) -> tuple[pl.DataFrame, pl.DataFrame | None]:
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
    """Write the corpus, its gold labels, the test set and the teachers' training part.

    Returns:
        The number of rows of each table, and of the texts that came from each extra source.

    Raises:
        MukiError: See `read_source` and `split_source`; a source lies in a folder that this would overwrite.
    """
    for source in (settings.corpus, *settings.extra, settings.test):
        if source is not None:
            _check_not_an_output(source.source, layout)
    corpus, rest = split_source(read_source(settings.corpus, layout.root), settings)
    test = _test_set(settings, layout)
    extra = {source.source: read_source(source, layout.root) for source in settings.extra}
    more = _new_texts(extra, corpus if test is None else pl.concat([corpus.select("text"), test.select("text")]))
    labelled = len(corpus)
    corpus = with_ids(pl.concat([corpus, *more.values()], how="diagonal"))
    tables = {
        layout.corpus_gold: corpus[:labelled].select("id", "label") if settings.corpus.label else None,
        layout.teacher_train: with_ids(rest) if rest is not None else None,
        layout.test: test,
    }
    write_corpus(layout.corpus, corpus, settings.shard_rows, layout.store)
    files.remove(tables)  # an older table that is no longer wanted must not be taken for a current one
    for path, frame in tables.items():
        if frame is not None:
            write_table_file(path, arrow(frame))
    rows = {path.stem: len(frame) for path, frame in tables.items() if frame is not None}
    sources = {f"of them from {name}": len(frame) for name, frame in more.items()}
    return {"corpus": len(corpus), **sources, **rows}


def _new_texts(extra: Mapping[str, pl.DataFrame], known: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """The texts of each extra source that are neither known nor in a source before it, each once."""
    found: dict[str, pl.DataFrame] = {}
    seen = known.select("text")
    for name, frame in extra.items():
        found[name] = (
            frame.select("text").unique(maintain_order=True).join(seen, on="text", how="anti", maintain_order="left")
        )
        seen = pl.concat([seen, found[name]])
    return found


def _test_set(settings: Prepare, layout: Layout) -> pl.DataFrame | None:
    if settings.test is None:
        return None
    return with_ids(keep_labels(read_source(settings.test, layout.root), settings.labels, settings.test.source))


def _check_not_an_output(source: str, layout: Layout) -> None:
    path = locations.local(source, layout.root)
    for folder in (layout.corpus, layout.gold):
        if path is not None and path.resolve().is_relative_to(folder.resolve()):
            raise MukiError(
                f"lies in {folder}, which prepare overwrites", where=source, fix="Move the file to another folder"
            )
