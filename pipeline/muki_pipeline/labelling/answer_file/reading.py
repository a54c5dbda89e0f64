"""A file of answers, read and checked: whose text each row answers, and with which distribution over the labels."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from muki_pipeline.blocks import AnswerFile
from muki_pipeline.corpus.answer_file import answer_path
from muki_pipeline.corpus.dialects import Dialect
from muki_pipeline.corpus.formats import kind_of, read_table
from muki_pipeline.corpus.readers import strings
from muki_pipeline.errors import choice, first_few, shortlist
from muki_pipeline.labelling.answer_file.columns import Columns, find_columns, is_prefixed, probabilities
from muki_pipeline.labelling.answer_file.place import Place
from muki_pipeline.labelling.answer_file.refusals import (
    TOLERANCE,
    refuse_nested,
    refuse_spread,
    refuse_variants,
    refuse_zeros,
)
from muki_pipeline.names import comparable, name_unknown, resembled
from muki_pipeline.store.columns import QUOTED

ID = "id"
QUOTING = (".csv", ".tsv")
"""The formats that `spreadsheet_csv` writes."""
_FLOAT, _ROUNDED = 1e-9, 0.05
_NAMED, _SHOWN, _CUT = 20, 3, 60
_MANY_LABELS, _ROWS_A_LABEL = 50, 5
"""A file with more labels than the first, and fewer rows for each than the second, does not hold labels."""

_NONE = pl.Series([], dtype=pl.String)
_RARE, _ALIKE, _MOST_COMPARED = 20, 0.75, 500
"""A label this much rarer than one that is alike may be a slip; more labels are not compared, which would take long."""


@dataclass(frozen=True)
class Answers:
    """The rows of a file of answers.

    Attributes:
        labels: The teacher's labels.
        by: What a row names its text by: `text`, or `id`.
        keys: `[rows]`, that text or id.
        probs: Some rows' numbers -> their distributions `[rows, labels]`, each row sums to 1.
        is_answer: `[rows]`, whether a row says anything; the others have no distribution.
        unknown: How often the most frequent labels occur that are none of the teacher's.
        unknown_rows: How many rows have such a label.
        has_samples: Whether every text has several answers, some of which differ: they are samples, as passes are.
        single: Where most texts have several answers, how many have only one: they are what `has_samples` lacks.
        read_as: Which columns were read as what, for a person.
        warnings: What looks wrong in the file and may be right, a sentence each.
    """

    labels: tuple[str, ...]
    by: str
    keys: pl.Series
    probs: Callable[[NDArray[np.intp]], NDArray[np.float64]]
    is_answer: NDArray[np.bool_]
    unknown: dict[str, int]
    unknown_rows: int
    has_samples: bool
    single: int
    read_as: str
    warnings: tuple[str, ...]


class _Samples(NamedTuple):
    """See `Answers.has_samples` and `Answers.single`; a warning of texts whose answers differ and are no samples."""

    are_there: bool
    single: int
    warnings: tuple[str, ...]


class _Content(NamedTuple):
    """What the columns of answers say.

    Attributes:
        labels: See `Answers`.
        probs: See `Answers`.
        is_answer: See `Answers`.
        same: `[rows]`, equal in rows of equal answers.
        unknown: Labels of others.
        warnings: What looks wrong in the labels.
    """

    labels: tuple[str, ...]
    probs: Callable[[NDArray[np.intp]], NDArray[np.float64]]
    is_answer: NDArray[np.bool_]
    same: pl.Series
    unknown: pl.Series = _NONE
    warnings: tuple[str, ...] = ()


def read_answers(name: str, settings: AnswerFile, root: Path) -> Answers:
    """The answers in a teacher's file.

    Args:
        name: The teacher's name.
        settings: The teacher's block of params.yaml.
        root: What a relative path is relative to.

    Raises:
        MukiError: The file is missing, unreadable or empty; no column names the texts; labels are missing; a number
            is none, is outside 0 to 1, or the probabilities of a row do not sum to 1 (with the row).
    """
    place = Place(name, answer_path(settings, root))
    frame = read_table(place.path, dialect=Dialect(settings.delimiter, settings.quote, settings.header))
    named = settings.labels or []
    if twice := sorted({label for label in named if named.count(label) > 1}):
        raise place.error(f"is given the label {twice[0]!r} twice", f"Correct {place.key('labels')}")
    if frame.is_empty():
        raise place.error("holds no answers", "Name a file with rows")
    by, keys = _keys(frame, settings, place)
    others = frame.drop(settings.text if by == "text" else ID)
    columns = find_columns(others, settings, place)
    if columns.label:
        content = _one_label(others, keys, columns, settings.labels, place)
    else:
        content = _every_label(others, columns.of_labels, place, are_found=settings.labels is None)
        if settings.labels is None:
            refuse_zeros(others, [each for each in columns.of_labels.values() if not is_prefixed(each)], place)
    if "" in content.labels:
        raise place.error("has a column for a label without a name", "Rename that column")
    if len(content.labels) < 2:
        what = f"names only the labels {list(content.labels)}, so it chooses nothing"
        raise place.error(what, f"Give its labels, at least two, in {place.key('labels')}")
    samples = _samples(keys, content)
    unknown = content.unknown.alias("label").value_counts().sort("count", "label", descending=[True, False])
    used = {columns.label, columns.probability, *columns.of_labels.values()}
    unused = [each for each in others.columns if each not in used]
    return Answers(
        labels=content.labels,
        by=by,
        keys=keys,
        probs=content.probs,
        is_answer=content.is_answer,
        unknown=dict(unknown.head(_NAMED).iter_rows()),
        unknown_rows=len(content.unknown),
        has_samples=samples.are_there,
        single=samples.single,
        read_as=_read_as(columns, samples, unused),
        warnings=(*content.warnings, *samples.warnings),
    )


def _read_as(columns: Columns, samples: _Samples, unused: list[str]) -> str:
    words = ["a probability for each label, a column each"]
    if columns.label:
        probability = "no column of probabilities"
        if columns.probability is not None:
            probability = f"its probability in column {columns.probability!r}"
        words = [f"one label a row, in column {columns.label!r}", probability]
    words.append("samples" if samples.are_there else "no samples")
    return "; ".join([*words, *([f"columns not used: {shortlist(unused, _NAMED)}"] if unused else [])])


def _keys(frame: pl.DataFrame, settings: AnswerFile, place: Place) -> tuple[str, pl.Series]:
    """What rows name their text by: the text, or the corpus's id where no column of texts is named."""
    is_named = "text" in settings.model_fields_set
    column = settings.text if is_named or settings.text in frame.columns else ID
    if column not in frame.columns:
        refuse_nested(frame, [each for each in frame.columns if _has_field(frame[each], {settings.text, ID})], place)
        what = f"has no column {settings.text!r} with the texts"
        what += "" if is_named else f", and no column {ID!r} with ids of the corpus"
        fix = f"name it by init --set {place.teacher}.text=COLUMN, or in {place.key('text')}"
        raise place.error(what, f"{choice(settings.text, frame.columns)}; {fix}")
    if column == ID and frame[ID].dtype != pl.String:
        what = f"its column {ID} holds {frame[ID].dtype}, not the ids of data/corpus"
        raise place.error(what, "Write the texts in a column text, or the corpus's own ids")
    keys = frame.select(strings(frame, column, str(place.path), is_text=True)).to_series()
    if keys.null_count():
        row = keys.is_null().arg_true()[0] + 1
        what = f"column {column} is empty in {keys.null_count()} rows, first in row {row}"
        raise place.error(what, "Drop these rows")
    return ("text" if column == settings.text else ID), one_line_end(keys)


def _has_field(column: pl.Series, names: set[str]) -> bool:
    """Whether a column holds objects, one or several a row, with a field of one of these names."""
    kind = column.dtype.inner if isinstance(column.dtype, pl.List | pl.Array) else column.dtype
    return isinstance(kind, pl.Struct) and any(field.name in names for field in kind.fields)


def one_line_end(texts: pl.Series) -> pl.Series:
    """Texts with one kind of line end: spreadsheets write another one than they were given."""
    return texts.str.replace_all("\r\n?", "\n")


def without_apostrophe(keys: pl.Series) -> pl.DataFrame:
    """`key`, `row`: keys without the apostrophe that `spreadsheet_csv` puts before some texts, and where they are.

    Those that are keys themselves are left out: they have answers of their own.
    """
    found = pl.DataFrame({"key": keys, "row": np.arange(len(keys))}).filter(pl.col("key").str.contains(QUOTED))
    plain = found.with_columns(pl.col("key").str.replace(QUOTED, "$1"))
    return plain.filter(~pl.col("key").is_in(keys.implode())) if len(plain) else plain


def _every_label(frame: pl.DataFrame, columns: dict[str, str], place: Place, *, are_found: bool) -> _Content:
    """A column of probabilities for each label; `are_found` as `probabilities` takes it."""
    values = probabilities(frame, list(columns.values()), place, are_found=are_found)
    is_empty = np.isnan(values)
    is_answer = np.asarray(~is_empty.all(axis=1))
    sums = values.sum(axis=1)
    fix = f"Its columns of labels are {shortlist(list(columns.values()), 12)}"
    fix += f"; if others are meant, name them in {place.key('labels')}"
    if (halves := is_empty.any(axis=1) & is_answer).any():
        what = f"row {halves.argmax() + 1} has probabilities for some labels and none for others"
        raise place.error(what, f"Give all of them or none. {fix}")
    if (wrong := is_answer & ~(np.abs(sums - 1) <= TOLERANCE + _FLOAT)).any():
        row = int(wrong.argmax())
        what = f"the probabilities of row {row + 1} sum to {sums[row]:.4g}, not to 1 ({wrong.sum():,} such rows)"
        is_rounded = np.abs(sums[is_answer] - 1).max() < _ROUNDED
        fix = "Write more digits, or divide each row by its sum" if is_rounded else fix
        raise place.error(what, fix)
    values /= sums[:, None]
    same = frame.select(pl.struct(list(columns.values())).hash()).to_series()
    return _Content(tuple(columns), lambda rows: values[rows], is_answer, same)


def _one_label(
    frame: pl.DataFrame, keys: pl.Series, columns: Columns, listed: Sequence[str] | None, place: Place
) -> _Content:
    """One label a row, with its probability where there is such a column."""
    names = _label_names(frame, columns.label, listed or (), place)
    labels = tuple(listed if listed is not None else names.drop_nulls().unique().sort())
    if listed is None:
        if len(labels) > max(_MANY_LABELS, len(names) / _ROWS_A_LABEL):
            values = f"{len(labels):,} values in {len(names):,} rows, say {shortlist(list(labels))}"
            fix = f"If they are labels, list them in {place.key('labels')}"
            raise place.error(f"column {columns.label} holds {values}", fix)
        refuse_variants(names, place)
    numbers = {label: number for number, label in enumerate(labels)}
    given = np.array([numbers.get(name, -1) for name in names], dtype=np.intp)
    is_answer = given >= 0
    unknown = names.filter(pl.Series(~is_answer) & names.is_not_null())
    chosen = np.ones(len(names))
    if columns.probability is None:
        refuse_spread(keys, given, np.zeros(len(names)), is_answer, place)
    else:
        chosen = probabilities(frame, [columns.probability], place)[:, 0]
        if (bare := is_answer & np.isnan(chosen)).any():
            what = f"row {bare.argmax() + 1} has a label and no probability"
            raise place.error(what, "Give the probability, or leave out that column")
        refuse_spread(keys, given, chosen, is_answer, place)
        chosen = np.clip(chosen, 1 / max(len(labels), 1), 1.0)  # less than chance would speak for the other labels

    def probs(rows: NDArray[np.intp]) -> NDArray[np.float64]:
        rest = (1 - chosen[rows]) / max(len(labels) - 1, 1)
        result = np.repeat(rest[:, None], len(labels), axis=1)
        result[np.arange(len(rows)), given[rows]] = chosen[rows]
        return result

    same = pl.DataFrame({"label": given, "chosen": chosen}).select(pl.struct("label", "chosen").hash()).to_series()
    return _Content(labels, probs, is_answer, same, unknown, _slips(names, place) if listed is None else ())


def _label_names(frame: pl.DataFrame, column: str, listed: Sequence[str], place: Place) -> pl.Series:
    """The label of each row as `comparable` makes it; null where there is none.

    The apostrophe of `spreadsheet_csv` is left out, unless it is in the listed name.
    """
    given = frame.select(strings(frame, column, str(place.path), is_text=False)).to_series()
    distinct = given.drop_nulls().unique()
    meant = distinct.str.replace(QUOTED, "$1") if kind_of(place.path) in QUOTING else distinct
    pairs = zip(map(comparable, distinct), map(comparable, meant), strict=True)
    plain = [(label if label in listed else other) or None for label, other in pairs]
    return given.replace_strict(distinct, plain, default=None, return_dtype=pl.String)


def _slips(names: pl.Series, place: Place) -> tuple[str, ...]:
    """A warning of labels of very few rows that resemble a frequent one."""
    counts = dict(names.drop_nulls().alias("label").value_counts().sort("count", "label").iter_rows())
    if len(counts) > _MOST_COMPARED:
        return ()
    rare: dict[str, int] = {}
    for label, count in counts.items():
        frequent = [other for other, rows in counts.items() if rows >= _RARE * count]
        if frequent and resembled(label, frequent, _ALIKE):
            rare[label] = count
    if not rare:
        return ()
    named = name_unknown(rare, [other for other in counts if other not in rare])
    fix = f"correct them, or list the labels in {place.key('labels')}"
    return (
        f"labels of very few rows resemble frequent ones: {named}. They are labels of the student unless you {fix}",
    )


def _samples(keys: pl.Series, content: _Content) -> _Samples:
    rows = pl.DataFrame({"key": keys, "same": content.same}).with_row_index("row", 1)
    rows = rows.filter(pl.Series(content.is_answer))
    of_text = rows.group_by("key", maintain_order=True).agg(pl.len(), distinct=pl.col("same").n_unique())
    single, differing = int((of_text["len"] == 1).sum()), of_text.filter(pl.col("distinct") > 1)
    are_most = bool(len(differing)) and 2 * single < len(of_text)
    warnings: tuple[str, ...] = ()
    if len(differing) and not are_most:
        texts = f"{len(differing):,} texts have" if len(differing) > 1 else "1 text has"
        first = rows.join(differing.head(_SHOWN), on="key", how="semi")
        of_first = first.group_by("key", maintain_order=True).agg(pl.col("row")).iter_rows()
        named = [f"{key[:_CUT]!r} (rows {first_few([f'{row:,}' for row in found])})" for key, found in of_first]
        more = f" and {len(differing) - _SHOWN:,} more" if len(differing) > _SHOWN else ""
        warnings = (f"{texts} several answers that differ, of which the average counts: {', '.join(named)}{more}",)
    return _Samples(are_most and not single, single if are_most else 0, warnings)


def describe(answers: Sequence[str], limit: int = 3) -> str:
    """The first few texts, each cut, for a message."""
    return shortlist([each[:_CUT] for each in answers], limit)
