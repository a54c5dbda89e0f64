"""A file's answers to some texts as label shards: found by key, or made from the file and stored."""

import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from muki_pipeline.blocks import AnswerFile
from muki_pipeline.corpus.answer_file import answer_path, answers_digest
from muki_pipeline.corpus.formats import kind_of
from muki_pipeline.corpus.table import with_ids
from muki_pipeline.labelling.answer_file.averages import average, logits_of
from muki_pipeline.labelling.answer_file.reading import QUOTING, Answers, one_line_end, read_answers, without_apostrophe
from muki_pipeline.labelling.outcome import close_to_uniform
from muki_pipeline.layout import Layout
from muki_pipeline.progress import SILENT, Task
from muki_pipeline.store import schema
from muki_pipeline.store.columns import arrow, fixed_size_lists, series
from muki_pipeline.store.keys import canonical_key
from muki_pipeline.store.store import Shard

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class StoredAnswers:
    """A file of answers, which determines its answers to any texts, and so their keys.

    Attributes:
        name: The teacher's name.
        settings: Its block of params.yaml.
        layout: Where finished work lies.
        digest: SHA-256 of the file, and of how it is read.
    """

    name: str
    settings: AnswerFile
    layout: Layout
    digest: str

    @classmethod
    def locate(cls, name: str, settings: AnswerFile, layout: Layout) -> Self:
        """The file of a teacher; only its digest is taken.

        Raises:
            MukiError: There is no such file.
        """
        return cls(name, settings, layout, answers_digest(settings, layout.root))

    @cached_property
    def answers(self) -> Answers:
        """Its content, see `read_answers`."""
        return read_answers(self.name, self.settings, self.layout.root)

    @property
    def where(self) -> str:
        """The file, for messages."""
        return str(answer_path(self.settings, self.layout.root))

    @property
    def cost(self) -> int:
        """How often a text goes through it."""
        return 1

    @property
    def plain_key(self) -> str:
        """SHA-256 of everything that determines an answer, except for the texts."""
        return canonical_key(self._facts(""))

    def key(self, corpus_digest: str) -> str:
        """What the labels of a shard with this content are stored under."""
        return canonical_key(self._facts(corpus_digest))

    def find_labels(self, corpus_digest: str) -> Shard | None:
        """The labels of texts with this digest, if they are finished."""
        return self.layout.store(self.layout.work / "labels").find(self.key(corpus_digest))

    def labels(self, texts: pa.Table, corpus_digest: str, task: Task = SILENT) -> Shard:
        """The labels of some texts: found in the store, or made now and stored there.

        Args:
            texts: `id`, `text`.
            corpus_digest: `content_digest` of the texts.
            task: Receives the texts.

        Raises:
            MukiError: See `read_answers`.
        """
        stored = self.find_labels(corpus_digest)
        _LOG.info("%s: shard %s %s", self.name, corpus_digest[:12], "is read now" if stored is None else "is there")
        if stored is None:
            facts = self._facts(corpus_digest) | {
                "labels": list(self.answers.labels),
                "gives": ["samples"] if self.answers.has_samples else [],
                "single": self.answers.single,
                "unknown": self.answers.unknown,
                "unknown_rows": self.answers.unknown_rows,
                "read_as": self.answers.read_as,
                "warnings": list(self.answers.warnings),
            }
            stored = self.layout.store(self.layout.work / "labels").finish(
                self.key(corpus_digest), self._table(texts), facts
            )
        task.advance(len(texts))
        return stored

    def is_answered(self, texts: pa.Table) -> NDArray[np.bool_]:
        """`[texts]`, whether the file answers a text of `id`, `text`."""
        found, _ = self._joined(texts)
        return np.bincount(found, minlength=len(texts)) > 0

    def is_listed(self, texts: pa.Table) -> NDArray[np.bool_]:
        """`[texts]`, whether the file has a row for a text of `id`, `text`, be it without an answer."""
        return np.asarray(_named(texts, self.answers.by).is_in(self._every_key["key"].implode()).to_numpy())

    def uniform(self, texts: pa.Table) -> int:
        """How many answered texts of `id`, `text` it says almost nothing about, see `close_to_uniform`."""
        found, rows = self._joined(texts)
        averages = average(found, self.answers.probs(rows), len(texts))
        is_uniform = averages.entropy.astype(np.float32) >= close_to_uniform(len(self.answers.labels))  # as stored
        return int((is_uniform & (averages.answers > 0)).sum())

    def logits(self, texts: list[str], task: Task = SILENT) -> NDArray[np.float32]:
        """Logits `[texts, labels]`: logarithms of its probabilities, equal where it has no answer."""
        found, rows = self._joined(arrow(with_ids(pl.DataFrame({"text": pl.Series(texts, dtype=pl.String)}))))
        task.advance(len(texts))
        return logits_of(average(found, self.answers.probs(rows), len(texts)).probs).astype(np.float32)

    @cached_property
    def _every_key(self) -> pl.DataFrame:
        """`key`, `row`: the file's rows, and what each one's text is called."""
        keys = self.answers.keys
        found = pl.DataFrame({"key": keys, "row": np.arange(len(keys))})
        return pl.concat([found, without_apostrophe(keys)]) if kind_of(Path(self.where)) in QUOTING else found

    @cached_property
    def _keys(self) -> pl.DataFrame:
        """The same of the rows that hold an answer."""
        return self._every_key.filter(pl.Series(self.answers.is_answer).gather(self._every_key["row"]))

    def _joined(self, texts: pa.Table) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """For each answer to one of the texts: the text's number, and the answer's row in the file."""
        asked = pl.DataFrame({"key": _named(texts, self.answers.by), "text": np.arange(len(texts))})
        joined = asked.join(self._keys, on="key", maintain_order="left_right")
        return joined["text"].to_numpy().astype(np.intp), joined["row"].to_numpy().astype(np.intp)

    def _table(self, texts: pa.Table) -> pa.Table:
        answers = self.answers
        found, rows = self._joined(texts)
        averages = average(found, answers.probs(rows), len(texts))
        expected = pa.array(averages.expected_entropy.astype(np.float32))
        columns = {
            "id": texts["id"],
            "probs": fixed_size_lists(averages.probs.astype(np.float32)),
            "logits": fixed_size_lists(logits_of(averages.probs).astype(np.float32)),
            "entropy": pa.array(averages.entropy.astype(np.float32)),
            "expected_entropy": expected if answers.has_samples else pa.nulls(len(texts), pa.float32()),
            "tokens": pa.nulls(len(texts), pa.int32()),
            "truncated": pa.nulls(len(texts), pa.bool_()),
            schema.ANSWERS.name: pa.array(averages.answers),
        }
        return schema.arrow_table((*schema.LABELS, schema.ANSWERS), columns, labels=len(answers.labels))

    def _facts(self, corpus_digest: str) -> dict[str, Any]:
        """Everything that determines the labels."""
        return {
            "schema": schema.LABELS_VERSION,
            "kind": schema.ANSWER_FILE,
            "teacher": self.name,
            "teacher_digest": self.digest,
            "corpus_digest": corpus_digest,
        }


def _named(texts: pa.Table, by: str) -> pl.Series:
    """What a file calls these texts: their text, or their id."""
    return one_line_end(series(texts[by]))
