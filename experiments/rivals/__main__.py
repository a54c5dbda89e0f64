"""Measures the student against what a user would do instead, and writes a file of results/rivals/ for each row.

Use: `python -m experiments.rivals [NAME ...] [--sizes N ... all] [--seeds N] [--rows ROW ...]`. NAME is one of the
settings; all by default. What is finished is not done again. Rows:

- students of a rule: see docs/rules.md;
- `supervised`: a student of the corpus's gold labels; `gold_5` and so on: of so many gold labels of each label;
- `names_student`: a student of the label names alone, self-trained on the corpus;
- `names`: the nearest label name by the neutral encoder; `routed`: each text's best teacher, by the default rule;
  `averaged`: the average of the teachers' weights with a head fitted to the default rule's targets.

`gate`, `muki`, `supervised` and `names_student` are trained from several seeds, the others once.
"""

import argparse
from collections.abc import Sequence
from typing import Any

import polars as pl

from experiments.record import Recorder
from experiments.rivals.project import Project, build
from experiments.rivals.rows import GOLD, NAMES, Rows
from experiments.rivals.settings import Setting, settings
from muki_pipeline.config import Compare
from muki_pipeline.errors import MukiError
from muki_pipeline.evaluation.comparison.compare import Comparison, compare
from muki_pipeline.evaluation.comparison.rules import RULES, SUPERVISED
from muki_pipeline.setup import rehearsal
from muki_stages.terminal import progress, quiet_libraries

PAIRED = ("gate", "muki", SUPERVISED, NAMES)
ONCE = ("mutual_information", "muki_hard", "concat", "uhc", "cfl", "dfa", *(f"gold_{count}" for count in GOLD))
DIRECT = ("names", "routed", "averaged")
SIZES = (1000, 4000, None)
"""Texts of the corpus; None are all."""
LEAST_MORE = 1.25
"""All texts are a size of their own where they are so many times more than the next."""


def students(rows: Rows, chosen: Sequence[str], seeds: int) -> Comparison | None:
    """The chosen students, each from so many seeds; None where none is chosen."""
    params, targets = rows.project.params, rows.targets()
    rules = [name for name in chosen if name in RULES or name == SUPERVISED]
    others = {name: targets[name] for name in chosen if name in targets}
    if not rules and not others:
        return None
    asked = params.model_copy(update={"compare": Compare.model_construct(rules=rules, seeds=list(range(seeds)))})
    return compare(asked, rows.project.layout, rows.progress, others)


def direct(rows: Rows, name: str) -> dict[str, Any]:
    """A row that needs no training: its accuracy, or why there is none."""
    try:
        return {"accuracy": rows.direct()[name]()}
    except MukiError as error:
        return {"accuracy": None, "reason": error.what}


def measure(project: Project, rows: Rows, chosen: Sequence[str], seeds: int, recorder: Recorder) -> None:
    """Measure the rows of a project, and write what came out."""
    setting = project.setting
    folder = f"rivals/{setting.name}-{rows.corpus.rows}"
    about = {
        "setting": setting.name,
        "title": setting.title,
        "texts": {"corpus": rows.corpus.rows, "test": len(rows.tested)},
    }
    recorder.lap()
    facts = about | {"labels": len(rows.corpus.label_space.labels), "teachers": rows.teachers(), "costs": rows.costs()}
    recorder.write(f"{folder}/setting", facts, seconds=recorder.lap())
    for name in DIRECT:
        if name in chosen:
            recorder.write(f"{folder}/{name}", about | direct(rows, name), seconds=recorder.lap())
    print(setting.name, rows.corpus.rows, "texts:", planned(rows, chosen, seeds), flush=True)
    for names, count in ((ONCE, 1), (PAIRED, seeds)):
        found = students(rows, [name for name in names if name in chosen], count)
        if found is not None:
            recorder.write_students(folder, found.students, found.tests, **about)
            for student in found.students.select("rule", "seed", "accuracy", "seconds").rows():
                print(setting.name, rows.corpus.rows, *student, flush=True)


def planned(rows: Rows, chosen: Sequence[str], seeds: int) -> str:
    """How many students there will be, and what one takes."""
    count = seeds * sum(name in chosen for name in PAIRED) + sum(name in chosen for name in ONCE)
    params, layout, labels = rows.project.params, rows.project.layout, dict(rows.project.setting.teachers)
    [found] = rehearsal.student(params, layout, pl.Series(rows.texts), labels, start=0.0)
    return f"at most {count} students, each {found.what}"


def sizes_of(setting: Setting, asked: Sequence[int | None]) -> list[int]:
    """The sizes that a setting's corpus has texts for."""
    most = len(setting.own_texts().corpus)
    smaller = [size for size in asked if size is not None and size * LEAST_MORE <= most]
    return [*smaller, *([most] if None in asked else [])]


def main() -> None:
    """Measure the chosen settings, sizes and rows."""
    there = {setting.name: setting for setting in settings()}
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", choices=[*there, []])
    parser.add_argument("--sizes", nargs="+", type=lambda given: None if given == "all" else int(given), default=SIZES)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", nargs="+", choices=[*PAIRED, *ONCE, *DIRECT], default=[*PAIRED, *ONCE, *DIRECT])
    asked = parser.parse_args()
    quiet_libraries()
    recorder = Recorder()
    for setting in [there[name] for name in asked.names] or there.values():
        for size in sizes_of(setting, asked.sizes):
            with progress() as bars:
                project = build(setting, size, bars)
                measure(project, Rows(project, bars), asked.rows, asked.seeds, recorder)


if __name__ == "__main__":
    main()
