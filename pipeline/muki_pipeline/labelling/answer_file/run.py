"""A corpus labelled from a file of answers, shard by shard, and published as any teacher's label table."""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from muki_pipeline.blocks import AnswerFile
from muki_pipeline.corpus.table import corpus_shards, read_corpus_shard
from muki_pipeline.errors import MukiError
from muki_pipeline.labelling.answer_file.reading import describe
from muki_pipeline.labelling.answer_file.store import StoredAnswers
from muki_pipeline.labelling.outcome import close_to_uniform
from muki_pipeline.layout import Layout
from muki_pipeline.names import name_unknown
from muki_pipeline.progress import SILENT, Progress
from muki_pipeline.store import schema
from muki_pipeline.store.store import Shard
from muki_pipeline.store.table import publish

_SHOWN = 3


@dataclass(frozen=True)
class AnswerSummary:
    """What was made of a file of answers.

    Attributes:
        rows: Texts of the corpus.
        new_rows: Those of them that were read now; the others were finished before.
        answers: Answers that were averaged.
        unanswered: Texts without an answer.
        missing: The first of them.
        single: Where most texts have several answers, how many in the file have only one.
        unknown: How often the most frequent labels occur in the file that are none of the teacher's.
        unknown_rows: How many of its rows have such a label.
        labels: The teacher's labels.
        has_samples: Whether its answers are samples, so that there is a mutual information.
        close_to_uniform: Answered texts on which its average distribution says almost nothing.
        read_as: Which columns were read as what, for a person.
        warnings: What looks wrong in the file and may be right, a sentence each.
    """

    rows: int
    new_rows: int
    answers: int
    unanswered: int
    missing: tuple[str, ...]
    single: int
    unknown: dict[str, int]
    unknown_rows: int
    labels: tuple[str, ...]
    has_samples: bool
    close_to_uniform: int
    read_as: str
    warnings: tuple[str, ...]


def label_from_answers(name: str, settings: AnswerFile, layout: Layout, progress: Progress = SILENT) -> AnswerSummary:
    """Label the whole corpus from a file of answers, and publish `data/labels/<name>/`. No network is loaded.

    Args:
        name: The teacher's name.
        settings: Its block of params.yaml.
        layout: Where the tables lie.
        progress: Counts the texts.

    Raises:
        MukiError: See `corpus_shards` and `read_answers`; more texts are unanswered than the settings allow.
    """
    shards = corpus_shards(layout.corpus)
    teacher = StoredAnswers.locate(name, settings, layout)
    found = [teacher.find_labels(shard.key) for shard in shards]
    new = [shard for shard, stored in zip(shards, found, strict=True) if stored is None]
    task = progress.begin(f"read the answers of {name}", sum(shard.rows for shard in new), "texts")
    labels = [
        stored or teacher.labels(read_corpus_shard(shard), shard.key, task)
        for shard, stored in zip(shards, found, strict=True)
    ]
    summary = _summary(labels, shards, sum(shard.rows for shard in new))
    if summary.unanswered > settings.most_unanswered * summary.rows:
        raise _too_few(teacher, summary)
    publish(layout.labels(name), labels, {"teacher": name})
    return summary


def _summary(labels: list[Shard], shards: list[Shard], new_rows: int) -> AnswerSummary:
    tables = [shard.read([schema.ANSWERS.name, "entropy"], verify=False) for shard in labels]
    counts = [table[schema.ANSWERS.name] for table in tables]
    footer = labels[0].footer()
    uniform = close_to_uniform(len(footer["labels"]))
    return AnswerSummary(
        rows=sum(shard.rows for shard in labels),
        new_rows=new_rows,
        answers=sum(pc.sum(count).as_py() for count in counts),
        unanswered=sum(pc.sum(pc.equal(count, 0)).as_py() for count in counts),
        missing=tuple(_first_missing(counts, shards)),
        single=footer["single"],
        unknown=footer["unknown"],
        unknown_rows=footer["unknown_rows"],
        labels=tuple(footer["labels"]),
        has_samples="samples" in footer["gives"],
        close_to_uniform=sum(
            pc.sum(pc.and_(pc.greater(count, 0), pc.greater_equal(table["entropy"], uniform))).as_py()
            for count, table in zip(counts, tables, strict=True)
        ),
        read_as=footer["read_as"],
        warnings=tuple(footer["warnings"]),
    )


def _first_missing(counts: list[pa.ChunkedArray], shards: list[Shard]) -> list[str]:
    missing: list[str] = []
    for count, shard in zip(counts, shards, strict=True):
        is_missing = pc.equal(count, 0)
        if len(missing) < _SHOWN and pc.any(is_missing).as_py():
            missing += read_corpus_shard(shard, ["text"])["text"].filter(is_missing).to_pylist()
    return missing[:_SHOWN]


def _too_few(teacher: StoredAnswers, summary: AnswerSummary) -> MukiError:
    """The error for a file that lacks too many answers, with the first texts."""
    answered = summary.rows - summary.unanswered
    what = f"answers {answered:,} of the corpus's {summary.rows:,} texts, not {describe(summary.missing)}"
    if summary.unknown:
        what += f"; {summary.unknown_rows:,} of its rows have a label that is none of the teacher's: "
        what += name_unknown(summary.unknown, summary.labels)
    if 2 * summary.unknown_rows >= summary.unanswered:
        fix = f"Correct the labels, or list them in teachers.{teacher.name}.labels"
    elif answered:
        share = summary.unanswered / summary.rows
        fix = f"Add answers, or raise teachers.{teacher.name}.most_unanswered above {share:.3g}"
    else:
        by = teacher.answers.by
        column = teacher.settings.text if by == "text" else by
        fix = f"Its column {column} must hold the {by}s of data/corpus as they are"
    return MukiError(what, where=teacher.where, fix=fix)
