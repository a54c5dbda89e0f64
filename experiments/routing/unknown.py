"""Finds texts that no teacher knows, by the default rule and by single scores; writes a file of results/unknown/ each.

Use: `python -m experiments.routing.unknown`, on the bases of the suite that are built. The foreign texts are those of
a base that has some, or those of one teacher, which is then left out; where there are more, 30 % of all are drawn.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.record import Recorder, slug
from experiments.routing.judge import is_built, stored
from experiments.routing.settings import Base, bases
from muki_pipeline.evaluation import metrics
from muki_pipeline.labels.space import unite
from muki_pipeline.labels.tables import LabelShard
from muki_pipeline.routing.gate.gate import Gate
from muki_pipeline.routing.scorers import SCORERS, TeacherOutputs, gate_inputs

SINGLE = ("mc_entropy", "mutual_information", "max_probability", "energy")
"""Scores of which the surest teacher's tells whether a text is known."""
FOREIGN = 0.3
KEPT = 0.95
FEWEST_TEACHERS = 3


@dataclass(frozen=True)
class Case:
    """Texts of which no teacher knows some.

    Attributes:
        name: What the table calls it.
        outputs: What is stored of them.
        known: `[texts]`, whether some teacher knows the label.
    """

    name: str
    outputs: TeacherOutputs
    known: NDArray[np.bool_]


def cases(base: Base) -> Iterator[Case]:
    """The cases that a base gives."""
    outputs, gold = stored(base.name)
    if base.foreign is not None:
        yield Case(base.name, outputs, np.array([label in outputs.label_space.labels for label in gold]))
    elif len(base.teachers) >= FEWEST_TEACHERS:
        for name in base.teachers:
            yield without(base, name, outputs, gold)


def without(base: Base, left_out: str, outputs: TeacherOutputs, gold: list[str]) -> Case:
    """The texts of a base without one of its teachers, whose own texts are then foreign."""
    numbers = [number for number, name in enumerate(base.teachers) if name != left_out]
    whole = outputs.label_space
    names = list(base.teachers)
    space = unite({names[each]: [whole.labels[column] for column in whole.columns[each]] for each in numbers}, {})
    known = np.array([label in space.labels for label in gold])
    foreign = min(int((~known).sum()), round(FOREIGN / (1.0 - FOREIGN) * int(known.sum())))
    drawn = np.random.default_rng(0).choice(np.flatnonzero(~known), foreign, replace=False)
    rows = np.sort(np.concatenate([np.flatnonzero(known), drawn]))
    assert outputs.texts is not None
    assert outputs.embeddings is not None
    assert outputs.names is not None
    # `stored` made them LabelShards; the scorers' protocol does not know their table.
    teachers = [LabelShard(outputs.teachers[each].table.take(rows)) for each in numbers]  # type: ignore[attr-defined]
    own_names = outputs.names[:, [whole.labels.index(label) for label in space.labels]]
    texts = [outputs.texts[row] for row in rows.tolist()]
    part = TeacherOutputs(texts, teachers, space, outputs.embeddings[rows], own_names)
    return Case(f"{base.name} without {left_out}", part, known[rows])


def familiarities(outputs: TeacherOutputs) -> dict[str, NDArray[np.floating]]:
    """Of each rule `[texts]`, higher for a text that is more likely to be known."""
    assert outputs.names is not None
    single = {name: SCORERS[name].kind.fit(name, outputs)(outputs).max(axis=1) for name in SINGLE}
    inputs = gate_inputs(outputs)
    gate = Gate.fit(inputs, outputs.names)
    return {**single, "gate": gate.familiarity(inputs)}


def figures(familiarity: NDArray[np.floating], known: NDArray[np.bool_]) -> dict[str, float | None]:
    """How well foreign texts are told from known ones.

    `left_out` is the share of the foreign texts that are left out while `KEPT` of the known ones stay; `of_as_many` the
    share of foreign ones among the least familiar texts, as many as there are foreign ones.
    """
    border = np.quantile(familiarity[known], 1.0 - KEPT)
    least = np.argsort(familiarity, kind="stable")[: int((~known).sum())]
    return {
        "left_out": float((familiarity[~known] < border).mean()),
        "of_as_many": float((~known[least]).mean()),
        "auroc": metrics.auroc(familiarity, known),
    }


def measure(case: Case) -> dict[str, Any]:
    """Every rule on one case."""
    found = {name: figures(each, case.known) for name, each in familiarities(case.outputs).items()}
    return {"setting": case.name, "texts": len(case.known), "foreign": int((~case.known).sum()), "rules": found}


def main() -> None:
    """Measure every case of the bases that are built."""
    recorder = Recorder()
    for base in bases():
        if is_built(base):
            for case in cases(base):
                values = measure(case)
                recorder.write(f"unknown/{slug(case.name)}", values, seconds=recorder.lap(), seeds=[base.seed])
                shown = {name: round(each["left_out"], 3) for name, each in values["rules"].items()}
                print(case.name, shown, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
