"""What scorers read of a corpus, shard by shard or as a sample, checked to belong together."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from muki_pipeline.config import NEED_LOGITS, Integrate, Params
from muki_pipeline.engines.loop import Engine, run
from muki_pipeline.errors import MukiError, shortlist
from muki_pipeline.labels.tables import LabelledCorpus, LabelShard, is_answer_file, open_labelled_corpus
from muki_pipeline.layout import Layout
from muki_pipeline.routing.answers import Answers, read_answers
from muki_pipeline.routing.embeddings import Embeddings, open_embeddings
from muki_pipeline.routing.scorers import SCORERS, TeacherOutputs
from muki_pipeline.store.columns import series

SAMPLE_ROWS = 50_000
"""Most texts that a scorer is fitted to: evenly spaced over the corpus, so that memory does not grow with it."""


@dataclass(frozen=True)
class RoutingInputs:
    """What a scorer reads.

    Attributes:
        scorer: Its name.
        corpus: The corpus and its label tables.
        embeddings: Neutral embeddings, None where the scorer does not read them.
        answers: A person's answers, None where there are none: targets by any scorer, and what the gate learns from.
    """

    scorer: str
    corpus: LabelledCorpus
    embeddings: Embeddings | None
    answers: Answers | None

    def outputs(self, number: int, texts: pa.Table, labels: Sequence[LabelShard]) -> TeacherOutputs:
        """What the scorer reads of one shard.

        Args:
            number: Which shard.
            texts: `id`, `text`.
            labels: The teachers' label shards; their columns include the scorer's.

        Raises:
            MukiError: See `Embeddings.read`.
        """
        vectors = None if self.embeddings is None else self.embeddings.read(number, texts["id"])
        return self._outputs(texts, labels, vectors)

    def sample(self, columns: Sequence[str], engine: Engine) -> TeacherOutputs:
        """The same of evenly spaced rows of the corpus, at most `SAMPLE_ROWS`, and of all whose label a person gave.

        Args:
            columns: The columns of a label shard to read.
            engine: Makes the workers that read the shards.

        Raises:
            MukiError: See `LabelTables.read_checked`; an answered text is not in the corpus.
        """
        parts = run(_Sampling(self, tuple(columns)).read, len(self.corpus.shards), engine)
        labels = [
            replace(several[0], table=pa.concat_tables(each.table for each in several))
            for several in zip(*(part.labels for part in parts), strict=True)
        ]
        texts = pa.concat_tables(part.texts for part in parts)
        vectors = [part.embeddings for part in parts if part.embeddings is not None]
        sample = self._outputs(texts, labels, np.concatenate(vectors) if vectors else None)
        if self.embeddings is not None:
            sample = replace(sample, names=self.embeddings.names)
        found = sum(part.answered for part in parts)
        if self.answers is not None and found < (given := len(self.answers.columns) + len(self.answers.foreign)):
            what = f"{given - found} of the answered texts are not in the corpus"
            raise MukiError(what, where="integrate.answers", fix="Make a new sample with muki-pipeline review")
        return sample

    def _outputs(
        self, texts: pa.Table, labels: Sequence[LabelShard], vectors: NDArray[np.float32] | None
    ) -> TeacherOutputs:
        anchors = None if self.answers is None else self.answers.anchors(texts["id"].to_pylist())
        read = None if vectors is None else texts["text"].to_pylist()
        return TeacherOutputs(read, labels, self.corpus.label_space, vectors, anchors=anchors)


def open_inputs(params: Params, layout: Layout) -> RoutingInputs:
    """What the scorer of params.yaml reads.

    Raises:
        MukiError: See `open_labelled_corpus`, `open_embeddings` and `read_answers`.
    """
    corpus, scorer = open_labelled_corpus(params, layout), params.integrate.scorer
    _check_given(corpus, scorer, params.integrate)
    embeddings = open_embeddings(params, layout, corpus) if SCORERS[scorer].reads_texts else None
    answers = read_answers(params.integrate.answers, layout.root, corpus.label_space)
    return RoutingInputs(scorer, corpus, embeddings, answers)


def lacking(corpus: LabelledCorpus, needs: Sequence[str]) -> list[str]:
    """The teachers that are files of answers without what is needed: `samples`, `logits`."""
    facts = corpus.tables.footers.items()
    return [name for name, footer in facts if is_answer_file(footer) and not set(needs) <= set(footer["gives"])]


def _check_given(corpus: LabelledCorpus, scorer: str, settings: Integrate) -> None:
    """Refuse rules that need what a file of answers does not give.

    Raises:
        MukiError: There is such a teacher.
    """
    needs = {"integrate.scorer": (scorer, SCORERS[scorer].needs)}
    if settings.strategy in NEED_LOGITS:
        needs["integrate.strategy"] = (settings.strategy, ("logits",))
    for where, (value, needed) in needs.items():
        if teachers := lacking(corpus, needed):
            what = f"{value} needs {' and '.join(needed)}, and {shortlist(teachers)} are files of answers without them"
            raise MukiError(
                what, where=where, fix="Use the gate, mc_entropy or calibrated, with posterior, soft or hard"
            )


@dataclass(frozen=True)
class _Rows:
    """Some rows of a shard.

    Attributes:
        texts: `id` and `text`.
        labels: The teachers' columns.
        embeddings: `[rows, size]`, or None.
        answered: How many texts of the whole shard a person has answered, with a label or with `none`.
    """

    texts: pa.Table
    labels: list[LabelShard]
    embeddings: NDArray[np.float32] | None
    answered: int


@dataclass(frozen=True)
class _Sampling:
    """Reads the sampled rows of one shard, here or on another machine."""

    inputs: RoutingInputs
    columns: tuple[str, ...]

    def read(self, number: int) -> _Rows:
        corpus, answers, embeddings = self.inputs.corpus, self.inputs.answers, self.inputs.embeddings
        texts = corpus.read(number)
        step, first = -(-corpus.rows // SAMPLE_ROWS), sum(shard.rows for shard in corpus.shards[:number])
        rows = np.arange(-first % step, len(texts), step)  # every step-th of the corpus, however it is sharded
        answered = 0
        if answers is not None:
            anchors = answers.anchors(texts["id"].to_pylist())
            rows, answered = np.union1d(rows, anchors.rows), len(anchors.rows) + len(anchors.foreign)
        checked = corpus.tables.read_checked(number, self.columns, series(texts["id"]))
        vectors = None if embeddings is None else embeddings.read(number, texts["id"], rows)
        labels = [replace(shard, table=shard.table.take(rows)) for shard in checked]
        return _Rows(texts.take(rows), labels, vectors, answered)
