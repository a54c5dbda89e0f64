"""A person's answers to a review: for some texts the right label is known, so the gate need not guess there."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from muki_pipeline.corpus.dialects import Dialect
from muki_pipeline.corpus.formats import read_table
from muki_pipeline.errors import MukiError, shortlist
from muki_pipeline.labels.space import LabelSpace
from muki_pipeline.names import comparable
from muki_pipeline.routing.annotation_tools.exports import read_export
from muki_pipeline.store.columns import QUOTED
from muki_pipeline.store.files import exists
from muki_pipeline.store.keys import file_digest

RANDOM, STARVED = "random", "starved"
_DIGITS = 12
_COLUMNS = ["id", "drawn", "stands_for", "answer"]


def wilson_interval(right: int, rows: int) -> tuple[float, float]:
    """The 95 % score interval of a share (Wilson 1927)."""
    from scipy.stats import binomtest  # it takes a second to load

    interval = binomtest(right, rows).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


@dataclass(frozen=True)
class Anchors:
    """Texts whose label is known.

    Attributes:
        rows: `[anchors]`, which texts.
        columns: `[anchors]`, the union's column of their label.
        stands_for: `[anchors]`, how many texts it stands for where it was drawn at random, so that it tells an
            accuracy; 0 where it was not.
        foreign: Texts whose label is known to be one of no teacher; they are no anchors.
    """

    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    stands_for: NDArray[np.float64]
    foreign: NDArray[np.intp] = field(default_factory=lambda: np.empty(0, np.intp))

    @property
    def is_random(self) -> NDArray[np.bool_]:
        """`[anchors]`, whether the text was drawn at random."""
        return self.stands_for > 0


NO_ANCHORS = Anchors(np.empty(0, np.intp), np.empty(0, np.intp), np.empty(0))


@dataclass(frozen=True)
class Answers:
    """Answers by text.

    Attributes:
        columns: For each id, the union's column of its label.
        stands_for: For each id that was drawn at random, how many texts it stands for.
        foreign: The ids of texts whose label no teacher knows.
    """

    columns: dict[str, int]
    stands_for: dict[str, float]
    foreign: frozenset[str]

    def anchors(self, ids: Sequence[str]) -> Anchors:
        """The anchors among some texts."""
        rows = [row for row, text_id in enumerate(ids) if text_id in self.columns]
        return Anchors(
            np.array(rows, dtype=np.intp),
            np.array([self.columns[ids[row]] for row in rows], dtype=np.intp),
            np.array([self.stands_for.get(ids[row], 0.0) for row in rows], dtype=np.float64),
            np.array([row for row, text_id in enumerate(ids) if text_id in self.foreign], dtype=np.intp),
        )


def none_answer(label_space: LabelSpace) -> str:
    """The answer for a text whose label no teacher knows: `none`, or, where a label is called so, `(none)`."""
    return _beside("none", label_space)


def unsure_answer(label_space: LabelSpace) -> str:
    """The answer of a person who is not sure, in annotation tools; it counts as no answer."""
    return _beside("unsure", label_space)


def _beside(answer: str, label_space: LabelSpace) -> str:
    while answer in label_space.labels:
        answer = f"({answer})"
    return answer


def read_answer_table(path: Path, label_space: LabelSpace) -> pl.DataFrame:
    """`id`, `drawn`, `stands_for`, `answer` of a review file, checked; unanswered texts have an empty answer.

    Args:
        path: What `review` wrote, with answers, or what an annotation tool has exported.
        label_space: The union.

    Raises:
        MukiError: The file is missing or lacks a column; an id occurs twice; an answer is no label of the union; a text
            that was drawn at random stands for no number of texts; see `read_export`.
    """
    table = read_export(path, unsure_answer(label_space))
    if table is None:
        table = read_table(path, _COLUMNS, Dialect(header=True))
    if missing := sorted({*_COLUMNS} - set(table.columns)):
        raise MukiError(
            f"has no column {missing}", where=str(path), fix="Fill in a file that review of this version has written"
        )
    stands_for = pl.col("stands_for").cast(pl.Float64, strict=False).fill_null(0.0).fill_nan(0.0)
    as_text = [pl.col(name).cast(pl.String).fill_null("") for name in ("id", "drawn", "answer")]
    answers = table.select(*as_text, stands_for).select(_COLUMNS)
    unweighted = answers.filter((pl.col("drawn") == RANDOM) & ~pl.col("stands_for").is_between(1.0, 1e18))
    if not unweighted.is_empty():
        what = f"stands_for is no number from 1 on for {shortlist(unweighted['id'].to_list())}"
        raise MukiError(what, where=str(path), fix="Leave the columns drawn and stands_for as review wrote them")
    # spreadsheet_csv puts an apostrophe before labels that look like formulas, and they may be copied with it.
    answers = answers.with_columns(pl.col("answer").str.strip_chars().str.replace(QUOTED, "$1"))
    answers = answers.with_columns(pl.Series("answer", [comparable(each) for each in answers["answer"]], pl.String))
    if not (twice := answers.filter(pl.col("id").is_duplicated())).is_empty():
        what = f"these ids occur more than once: {shortlist(twice['id'].unique(maintain_order=True).to_list())}"
        raise MukiError(what, where=str(path), fix="Leave one line for each text")
    known = ["", none_answer(label_space), *label_space.labels]
    if not (wrong := answers.filter(~pl.col("answer").is_in(known))).is_empty():
        held = shortlist(wrong["answer"].unique(maintain_order=True).to_list())
        of_texts = f"which is neither a label of the union nor {known[1]} (texts {shortlist(wrong['id'].to_list())})"
        what = f"the column answer holds {held}, {of_texts}"
        raise MukiError(what, where=str(path), fix="Correct these answers")
    return answers


def reference(path: Path, root: Path) -> str:
    """What `integrate.answers` names a file by: its path and the beginning of its SHA-256, so that DVC sees changes.

    Args:
        path: The file.
        root: The folder of params.yaml; a file below it is named relative to it.
    """
    full = path.resolve()
    name = full.relative_to(root) if full.is_relative_to(root) else full
    return f"{name}@{file_digest(full)[:_DIGITS]}"


def read_answers(named: str | None, root: Path, label_space: LabelSpace) -> Answers | None:
    """The answers that `integrate.answers` names; None where it names none.

    Args:
        named: See `reference`.
        root: What a relative path is relative to.
        label_space: The union.

    Raises:
        MukiError: The file is missing or has changed; see `read_answer_table`.
    """
    if named is None:
        return None
    name, _, digest = named.rpartition("@")
    path = root / name
    if not exists(path):
        raise MukiError("no such file", where=str(path), fix="Correct integrate.answers")
    if file_digest(path)[:_DIGITS] != digest:
        fix = f"Set integrate.answers to {reference(path, root)}"
        raise MukiError("has changed since it was named in params.yaml", where=str(path), fix=fix)
    answers = read_answer_table(path, label_space)
    is_foreign = pl.col("answer") == none_answer(label_space)
    given = answers.filter((pl.col("answer") != "") & ~is_foreign)
    columns = {label: column for column, label in enumerate(label_space.labels)}
    return Answers(
        {text_id: columns[label] for text_id, label in given.select("id", "answer").iter_rows()},
        dict(given.filter(pl.col("drawn") == RANDOM).select("id", "stands_for").iter_rows()),
        frozenset(answers.filter(is_foreign)["id"]),
    )
