"""Text sources become the corpus, its gold labels, the test set and the teachers' training part."""

from collections.abc import Iterator
from itertools import product

import polars as pl

from muki_pipeline.blocks import Source
from muki_pipeline.config import Prepare
from muki_pipeline.corpus.ids import Ids, first_ids
from muki_pipeline.corpus.prepared import begin_record, record_corpus, sources_now, write_record
from muki_pipeline.corpus.readers import local_files, read_parts, read_source
from muki_pipeline.corpus.table import with_ids, write_corpus_parts
from muki_pipeline.errors import MukiError, shortlist
from muki_pipeline.layout import Layout
from muki_pipeline.store import files
from muki_pipeline.store.columns import arrow
from muki_pipeline.store.table import write_table_file


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
            f"fewer than rows_per_label = {wanted} rows for {shortlist(short['label'].sort().to_list())}",
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
        raise MukiError(f"no row is labelled {shortlist(absent)}", where=where, fix="Correct prepare.labels")
    return frame.filter(pl.col("label").is_in(labels))


SHARED = "of the test set also in the corpus"
"""Texts that the student is taught about and measured on."""


def prepare(settings: Prepare, layout: Layout) -> dict[str, int]:
    """Write the corpus, its gold labels, the test set and the teachers' training part.

    Returns:
        The number of rows of each table, and of the texts that came from each extra source.

    Raises:
        MukiError: See `read_source` and `split_source`; a source lies in a folder that this would overwrite; another
            process prepares the corpus.
    """
    with files.only_one(layout.work / "prepare.lock", "preparing the corpus"):
        if not files.exists(layout.work / ".gitignore"):
            files.write_bytes(layout.work / ".gitignore", b"*\n")  # finished work is no source: git must not take it
        for source in settings.sources:
            _check_not_an_output(source.source, layout)
        read = sources_now(settings, layout)  # before they are read: what is appended meanwhile is told later
        test = _test_set(settings, layout)
        corpus = _Corpus(settings, layout, test)
        corpus.check()  # before a corpus that is there is touched
        begin_record(layout)
        shards = write_corpus_parts(layout.store(layout.corpus), corpus.sources(), settings.shard_rows)
        record_corpus(layout)
        rest = None if corpus.rest is None else with_ids(corpus.rest)
        tables = {layout.corpus_gold: corpus.gold, layout.teacher_train: rest, layout.test: test}
        files.remove(tables)  # an older table that is no longer wanted must not be taken for a current one
        written = {path: frame for path, frame in tables.items() if frame is not None}
        for path, frame in written.items():
            write_table_file(path, arrow(frame))
        write_record(settings, read, layout)
    rows = {path.stem: len(frame) for path, frame in written.items()}
    extra = {f"of them from {name}": count for name, count in corpus.from_extra.items()}
    seen = 0 if test is None else int(corpus.ids.known(first_ids(test["text"])).sum())
    shared = {SHARED: seen} if seen else {}
    return {"corpus": sum(shard.rows for shard in shards), **extra, **rows, **shared}


def planned(settings: Prepare, layout: Layout) -> tuple[pl.Series, pl.DataFrame | None]:
    """The corpus's texts and the test set (`id`, `text`, `label`), as `prepare` would write them; nothing is written.

    Raises:
        MukiError: See `prepare`.
    """
    test = _test_set(settings, layout)
    corpus = _Corpus(settings, layout, test)
    corpus.check()
    return pl.concat(part["text"] for parts in corpus.sources() for part in parts), test


class _Corpus:
    """The corpus, part by part; a labelled source is drawn from as a whole, because its rows are counted by label.

    Attributes:
        gold: `id`, `label` of the corpus's source, where it has labels; known when all parts were given.
        rest: `text`, `label` of the rows that are left to `train-teacher`; likewise.
        from_extra: How many texts each extra source has added; likewise.
        ids: The ids that were given to the corpus's texts; likewise.
    """

    def __init__(self, settings: Prepare, layout: Layout, test: pl.DataFrame | None) -> None:
        self.settings, self.layout, self.test = settings, layout, test
        self.gold: pl.DataFrame | None = None
        self.rest: pl.DataFrame | None = None
        self.from_extra: dict[str, int] = {}
        self.ids = Ids()

    def check(self) -> None:
        """Read every source once: a fault in the last row of the last one is found before anything is written."""
        unlabelled = [*self.settings.extra, *([self.settings.corpus] if self.settings.corpus.label is None else [])]
        for source in unlabelled:
            for _ in read_parts(source, self.layout.root):
                pass
        if self.settings.corpus.label is not None:
            self._split = split_source(read_source(self.settings.corpus, self.layout.root), self.settings)

    def sources(self) -> Iterator[Iterator[pl.DataFrame]]:
        """Of each source the parts, `id`, `text`, which must be read in this order."""
        yield self._corpus()
        tested = Ids()
        if self.test is not None:
            tested.add(self.test.select("text"))
        for source in self.settings.extra:
            yield self._extra(source, tested)

    def _corpus(self) -> Iterator[pl.DataFrame]:
        source = self.settings.corpus
        if source.label is None:
            for part in read_parts(source, self.layout.root):
                yield self.ids.add(part)
        else:
            frame, self.rest = self._split
            labelled = self.ids.add(frame)
            self.gold = labelled.select("id", "label")
            yield labelled

    def _extra(self, source: Source, tested: Ids) -> Iterator[pl.DataFrame]:
        """Those that are in no earlier source and not in the test set."""
        self.from_extra.setdefault(source.source, 0)  # several columns of one file are several sources
        for part in read_parts(source, self.layout.root):
            part_ids = first_ids(part["text"])
            is_new = pl.Series(self.ids.new(part_ids) & ~tested.known(part_ids))
            self.from_extra[source.source] += int(is_new.sum())
            yield self.ids.add(part.filter(is_new).select("text"), part_ids.filter(is_new))


def _test_set(settings: Prepare, layout: Layout) -> pl.DataFrame | None:
    if settings.test is None:
        return None
    return with_ids(keep_labels(read_source(settings.test, layout.root), settings.labels, settings.test.source))


def _check_not_an_output(source: str, layout: Layout) -> None:
    for path, folder in product(local_files(source, layout.root) or [], (layout.corpus, layout.gold)):
        if path.resolve().is_relative_to(folder.resolve()):
            raise MukiError(
                f"lies in {folder}, which prepare overwrites", where=source, fix="Move the file to another folder"
            )
