"""Label tables, read back for stage two: checked against their manifests, the corpus and one another."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from muki_pipeline.blocks import AnswerFile, AnyTeacher, Teacher
from muki_pipeline.config import Label, Params
from muki_pipeline.corpus.answer_file import has_changed
from muki_pipeline.corpus.table import corpus_shards, read_corpus_shard
from muki_pipeline.errors import MukiError, shortlist
from muki_pipeline.freshness import check_named
from muki_pipeline.labels.space import LabelSpace, unite
from muki_pipeline.layout import Layout, make_labels
from muki_pipeline.store import schema
from muki_pipeline.store.columns import matrix, series
from muki_pipeline.store.store import Shard
from muki_pipeline.store.table import Table

NUMBER_SETTINGS = ("passes", "seed", "max_length", "dtype")
"""Those of the `label` block that determine a teacher's numbers."""
_SAME_IN_ALL_SHARDS = ("labels", "teacher_digest")
_SAME_OF_A_NETWORK = ("dropout_override", "dtype")
_SAME_OF_FEATURES = ("teacher_digest", "dtype", "max_length")
_AUTO = "auto"
"""A setting that leaves the choice to `label`; its choice stands in the footer."""


@dataclass(frozen=True)
class LabelShard:
    """One teacher's labels of one shard's texts, in the corpus shard's order.

    Attributes:
        table: Those columns of the label shard that were read.
        has_logits: Whether logits are a network's own, so that they have an energy.
        has_samples: Whether distributions are averages of passes or samples, so that there is a mutual information.
    """

    table: pa.Table
    has_logits: bool = True
    has_samples: bool = True

    @classmethod
    def read(cls, shard: Shard, columns: Sequence[str], footer: Mapping[str, Any]) -> Self:
        """Some columns of a shard of the teacher with this footer, and of a file of answers how many there are.

        Raises:
            MukiError: The file was changed, or lacks a column.
        """
        if not is_answer_file(footer):
            return cls(shard.read(list(columns)))
        wanted = list(dict.fromkeys([*columns, schema.ANSWERS.name]))
        return cls(shard.read(wanted), has_logits=False, has_samples="samples" in footer["gives"])

    @property
    def is_silent(self) -> NDArray[np.bool_]:
        """`[rows]`, whether the teacher has no answer."""
        if schema.ANSWERS.name not in self.table.column_names:
            return np.zeros(len(self.table), dtype=bool)
        return np.asarray(self._numbers(schema.ANSWERS.name) == 0)

    @property
    def probs(self) -> NDArray[np.float32]:
        """`[rows, labels]`, average over the passes."""
        return matrix(self.table["probs"])

    @property
    def logits(self) -> NDArray[np.float32]:
        """`[rows, labels]`, without dropout."""
        return matrix(self.table["logits"])

    @property
    def entropy(self) -> NDArray[np.float32]:
        """`[rows]`, of `probs`, nats."""
        return self._numbers("entropy")

    @property
    def expected_entropy(self) -> NDArray[np.float32]:
        """`[rows]`, average entropy of a pass, nats."""
        return self._numbers("expected_entropy")

    def _numbers(self, column: str) -> NDArray[np.float32]:
        numbers: NDArray[np.float32] = self.table[column].combine_chunks().to_numpy()
        return numbers


@dataclass(frozen=True)
class LabelTables:
    """The label tables of several teachers, checked to belong to one corpus and to have the same settings.

    Attributes:
        layout: Where they lie.
        footers: Each teacher's footer metadata, in the order in which params.yaml lists the teachers.
        shards: Each teacher's shards, one for each corpus shard, in its order.
    """

    layout: Layout
    footers: dict[str, dict[str, Any]]
    shards: dict[str, list[Shard]]

    @property
    def labels(self) -> dict[str, list[str]]:
        """Each teacher's label names, in the order of its logits."""
        return {teacher: footer["labels"] for teacher, footer in self.footers.items()}

    def read(self, corpus_shard: int, columns: Sequence[str]) -> list[LabelShard]:
        """Every teacher's labels of a corpus shard.

        Raises:
            MukiError: A file was changed, or lacks a column.
        """
        return [
            LabelShard.read(shards[corpus_shard], columns, self.footers[name]) for name, shards in self.shards.items()
        ]

    def read_checked(self, corpus_shard: int, columns: Sequence[str], ids: pl.Series) -> list[LabelShard]:
        """The same as `read`, after a check that every teacher labelled exactly these texts, in this order.

        Raises:
            MukiError: As `read`; an id is missing, extra or repeated (with counts and the first ids).
        """
        labels = self.read(corpus_shard, ["id", *columns])
        for (teacher, shards), label_shard in zip(self.shards.items(), labels, strict=True):
            _check_ids(series(label_shard.table["id"]), ids, shards[corpus_shard].where, teacher)
        return labels


@dataclass(frozen=True)
class Features:
    """What the teachers' heads read of a corpus, checked to belong to its label tables.

    Attributes:
        shards: Each teacher's shards, one for each corpus shard, in its order.
        widths: How many features each teacher has.
    """

    shards: dict[str, list[Shard]]
    widths: list[int]

    def read(self, number: int, ids: pl.Series) -> list[NDArray[np.float32]]:
        """For each teacher `[rows, its features]` of a corpus shard.

        Raises:
            MukiError: A file was changed, or has other texts.
        """
        features = []
        for teacher, shards in self.shards.items():
            table = shards[number].read(["id", "features"])
            _check_ids(series(table["id"]), ids, shards[number].where, teacher)
            features.append(matrix(table["features"]).astype(np.float32))
        return features


def open_features(tables: LabelTables, corpus_shards: list[Shard]) -> Features:
    """The features of the teachers whose label tables are open.

    Raises:
        MukiError: There are none, or they belong to another teacher or corpus.
    """
    found: dict[str, list[Shard]] = {}
    widths = []
    for name, footer in tables.footers.items():
        if is_answer_file(footer):
            what = "is a file of answers, which has no features to align"
            raise MukiError(what, where=f"teacher {name}", fix="Use another integrate.strategy")
        folder = tables.layout.features(name)
        remedy = f"Set label.features: true, then {make_labels(name)[0].lower()}{make_labels(name)[1:]}"
        found[name] = Table.open(folder, remedy).shards
        made_for = [shard.footer() for shard in found[name]]
        facts = {"schema": schema.FEATURES_VERSION, **{fact: footer[fact] for fact in _SAME_OF_FEATURES}}
        expected = [{**facts, "corpus_digest": shard.key} for shard in corpus_shards]
        if [{fact: each.get(fact) for fact in (*facts, "corpus_digest")} for each in made_for] != expected:
            raise MukiError("does not fit the corpus and the labels", where=str(folder), fix=remedy)
        widths.append(int(made_for[0]["width"]))
    return Features(found, widths)


@dataclass(frozen=True)
class LabelledCorpus:
    """A corpus and its label tables, checked to belong together.

    Attributes:
        layout: Where they lie.
        shards: The corpus's shards.
        tables: The teachers' label tables.
        label_space: The union of their labels.
    """

    layout: Layout
    shards: list[Shard]
    tables: LabelTables
    label_space: LabelSpace

    @property
    def rows(self) -> int:
        """Number of texts."""
        return sum(shard.rows for shard in self.shards)

    @property
    def teachers(self) -> list[str]:
        """The teachers' names."""
        return list(self.tables.footers)

    @property
    def teacher_facts(self) -> dict[str, dict[str, Any]]:
        """For each teacher its `labels`, `digest`, and the union's `columns` of its labels, for JSON.

        Of a network also its `dtype` and the `dropout` that replaces its own, of a file of answers what it `gives`
        besides probabilities.
        """
        return {
            name: {
                "labels": footer["labels"],
                "digest": footer["teacher_digest"],
                **(
                    {"gives": footer["gives"]}
                    if is_answer_file(footer)
                    else {"dtype": footer["dtype"], "dropout": footer["dropout_override"]}
                ),
                "columns": columns.tolist(),
            }
            for (name, footer), columns in zip(self.tables.footers.items(), self.label_space.columns, strict=True)
        }

    def read(self, number: int, columns: Sequence[str] = ("id", "text")) -> pa.Table:
        """`id` and `text` of a corpus shard, or only one of them."""
        return read_corpus_shard(self.shards[number], columns)


def open_labelled_corpus(params: Params, layout: Layout) -> LabelledCorpus:
    """The corpus with the label tables of the teachers that params.yaml lists.

    Raises:
        MukiError: See `corpus_shards`, `open_labels` and `unite`.
    """
    shards = corpus_shards(layout.corpus)
    tables = open_labels(layout, params.teachers, params.label, shards)
    return LabelledCorpus(layout, shards, tables, unite(tables.labels, params.integrate.aliases))


def is_answer_file(footer: Mapping[str, Any]) -> bool:
    """Whether a label shard with this footer was made from a file of answers."""
    return footer.get("kind") == schema.ANSWER_FILE


def open_labels(
    layout: Layout, teachers: Mapping[str, AnyTeacher], settings: Label, corpus_shards: list[Shard]
) -> LabelTables:
    """Open the label tables of `teachers` and check, before anything is computed, that they belong together.

    Raises:
        MukiError: A table is missing; a shard belongs to another teacher or corpus, differs from the teacher's other
            shards, or was made with other settings than those in params.yaml, or from another file of answers.
    """
    footers: dict[str, dict[str, Any]] = {}
    shards: dict[str, list[Shard]] = {}
    for name, teacher in teachers.items():
        is_file = isinstance(teacher, AnswerFile)
        folder = layout.labels(name)
        table = Table.open(folder, make_labels(name))
        shards[name] = table.shards
        if [shard.rows for shard in shards[name]] != [shard.rows for shard in corpus_shards]:
            labelled, wanted = (sum(shard.rows for shard in table) for table in (shards[name], corpus_shards))
            raise MukiError(
                f"labels {labelled:,} texts, but the corpus has {wanted:,}"
                if labelled != wanted
                else "is of a corpus in shards of another size",
                where=str(folder),
                fix=make_labels(name),
            )
        for shard, corpus_shard in zip(shards[name], corpus_shards, strict=True):
            footer = shard.footer()
            expected = {"schema": schema.LABELS_VERSION, "teacher": name, "corpus_digest": corpus_shard.key}
            expected |= {"kind": schema.ANSWER_FILE} if isinstance(teacher, AnswerFile) else _wanted(teacher, settings)
            same = _SAME_IN_ALL_SHARDS if is_file else (*_SAME_IN_ALL_SHARDS, *_SAME_OF_A_NETWORK)
            if missing := [fact for fact in (*same, *(() if is_file else NUMBER_SETTINGS)) if fact not in footer]:
                raise MukiError(f"its footer lacks {missing}", where=shard.where, fix=make_labels(name))
            if name in footers:
                expected |= {fact: footers[name].get(fact) for fact in same}
            _check_footer(footer, expected, shard.where, name)
            footers.setdefault(name, footer)
        if isinstance(teacher, AnswerFile) and has_changed(teacher, layout.root, footers[name]["teacher_digest"]):
            what = f"teacher {name}: this file, or how params.yaml reads it, has changed since it was labelled"
            raise MukiError(what, where=teacher.answers, fix=make_labels(name))
        if isinstance(teacher, Teacher):
            check_named(name, teacher, table, folder)
    return LabelTables(layout, footers, shards)


def _wanted(teacher: Teacher, settings: Label) -> dict[str, Any]:
    """What determines a network's numbers and their labels, as the settings want it."""
    wanted = {each: value for each in NUMBER_SETTINGS if (value := getattr(settings, each)) != _AUTO}
    named = {} if teacher.labels is None else {"labels": teacher.labels}
    return {**wanted, "dropout_override": teacher.dropout, **named}


def _check_footer(footer: Mapping[str, Any], expected: Mapping[str, Any], where: str, teacher: str) -> None:
    if differing := [name for name in expected if footer.get(name) != expected[name]]:
        changes = "; ".join(f"{name} is {footer.get(name)!r:.80}, not {expected[name]!r:.80}" for name in differing)
        raise MukiError(f"does not fit the corpus and params.yaml: {changes}", where=where, fix=make_labels(teacher))


def _check_ids(ids: pl.Series, expected: pl.Series, where: str, teacher: str) -> None:
    if ids.equals(expected):
        return
    present, wanted = (pl.DataFrame({"id": column}) for column in (ids, expected))
    faults = {
        "missing": wanted.join(present, on="id", how="anti"),
        "extra": present.join(wanted, on="id", how="anti"),
        "repeated": present.filter(pl.col("id").is_duplicated()).unique(maintain_order=True),
    }
    what = "; ".join(
        f"{len(rows)} ids {kind} ({shortlist(rows['id'].to_list())})" for kind, rows in faults.items() if len(rows)
    )
    raise MukiError(what or "its ids are in another order than the corpus's", where=where, fix=make_labels(teacher))
