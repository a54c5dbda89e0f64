"""The label space: the union of the teachers' label names, after aliases."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from muki_pipeline.errors import MukiError, shortlist
from muki_pipeline.names import comparable


@dataclass(frozen=True)
class LabelSpace:
    """The union of the teachers' labels.

    Attributes:
        labels: Names of the union, in the order in which the teachers first name them.
        columns: For each teacher, in order, `[labels of the teacher]`: the union's column of each of its labels.
    """

    labels: tuple[str, ...]
    columns: tuple[NDArray[np.intp], ...]

    @property
    def known(self) -> NDArray[np.bool_]:
        """`[union, teachers]`: whether a teacher knows a label."""
        table = np.zeros((len(self.labels), len(self.columns)), dtype=bool)
        for teacher, columns in enumerate(self.columns):
            table[columns, teacher] = True
        return table

    def with_unknown(self, label: str | None) -> "LabelSpace":
        """The student's labels: the union, and last the label of texts that no teacher knows, where there is one.

        Raises:
            MukiError: A teacher knows a label of this name.
        """
        if label is None:
            return self
        if comparable(label) in self.labels:
            what = f"{label!r} is a label that a teacher knows"
            raise MukiError(what, where="integrate.unknown_label", fix="Choose a name that no teacher uses")
        return LabelSpace((*self.labels, comparable(label)), self.columns)


def unite(teachers: Mapping[str, Sequence[str]], aliases: Mapping[str, Mapping[str, str]]) -> LabelSpace:
    """Unite the teachers' label names, as `comparable` makes them.

    Args:
        teachers: Each teacher's labels, in the order of its outputs.
        aliases: Per teacher, its name for a label -> the union's name.

    Raises:
        MukiError: An alias renames a label that the teacher does not have, or makes two of its labels one.
    """
    numbers: dict[str, int] = {}
    columns = []
    for teacher, names in after_aliases(teachers, aliases).items():
        labels = teachers[teacher]
        if unknown := sorted({comparable(label) for label in aliases.get(teacher, {})} - set(map(comparable, labels))):
            raise MukiError(
                f"teacher {teacher} has no label {shortlist(unknown)}, only {shortlist(list(labels), 10)}",
                where=f"integrate.aliases.{teacher}",
                fix="Write the teacher's name for the label on the left and the union's on the right",
            )
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise MukiError(
                f"two labels of teacher {teacher} would both be called {shortlist(twice)}",
                where=f"integrate.aliases.{teacher}",
                fix="Give each of its labels a different name",
            )
        columns.append(np.array([numbers.setdefault(name, len(numbers)) for name in names], dtype=np.intp))
    return LabelSpace(tuple(numbers), tuple(columns))


def after_aliases(
    teachers: Mapping[str, Sequence[str]], aliases: Mapping[str, Mapping[str, str]]
) -> dict[str, list[str]]:
    """The union's name of each label of each teacher; aliases of labels that it does not have count for nothing."""
    renamed = {}
    for teacher, labels in teachers.items():
        names = {comparable(label): comparable(name) for label, name in aliases.get(teacher, {}).items()}
        renamed[teacher] = [names.get(comparable(label), comparable(label)) for label in labels]
    return renamed
