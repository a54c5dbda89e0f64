"""Measures the student against what a user would do instead, and writes a file of results/rivals/ for each row.

Use: `python -m experiments.rivals [NAME ...] [--sizes N ... all] [--seeds N] [--rows ROW ...]`. NAME is one of the
settings; all by default. Teachers, labels and students that are finished are not made again. Rows:

- students of a rule: see docs/rules.md;
- `supervised`: a student of the corpus's gold labels; `gold_5` and so on: of at most so many gold labels of each label;
- `names_student`: a student of the label names alone, self-trained on the corpus;
- `names`: the nearest label name by the neutral encoder; `routed`: each text's best teacher, by the default rule;
  `averaged`: the average of the teachers' weights with a head fitted to the default rule's targets;
- `costs`: seconds of each step, on this machine while nothing else runs.

`gate`, `muki`, `supervised` and `names_student` are trained from several seeds, the others once.
"""

import argparse
from collections.abc import Sequence
from typing import Any

import polars as pl

from experiments.record import Recorder, read
from experiments.rivals.project import Project, build
from experiments.rivals.rows import GOLD, NAMES, Rows
from experiments.rivals.settings import Setting, settings
from muki_pipeline.config import Compare
from muki_pipeline.errors import MukiError
from muki_pipeline.evaluation.comparison.compare import Comparison, compare
from muki_pipeline.evaluation.comparison.rules import RULES, SUPERVISED
from muki_pipeline.setup import rehearsal
from muki_stages.terminal import progress, quiet_libraries

DEFAULT = "gate"
PAIRED = (DEFAULT, "muki", SUPERVISED, NAMES)
ONCE = ("mutual_information", "muki_hard", "concat", "uhc", "cfl", "dfa")
FEW = tuple(f"gold_{count}" for count in GOLD)
DIRECT = ("names", "routed", "averaged")
COSTS = "costs"
ROWS = (*PAIRED, *ONCE, *FEW, *DIRECT, COSTS)
SIZES = (1000, 4000, None)
"""Texts of the corpus; None are all."""
LEAST_MORE = 1.25
"""All texts are a size of their own where they are so many times more than the next."""


def students(rows: Rows, names: Sequence[str], seeds: int) -> Comparison:
    """The named students and, beside them, those of the default rule, each from so many seeds.

    Those of a few gold labels are trained as `epochs: auto` says, whatever the setting's students of whole corpora are.
    """
    params, targets = rows.project.params, rows.targets()
    if not {*names}.isdisjoint(FEW):
        params = params.model_copy(update={"student": params.student.model_copy(update={"epochs": "auto"})})
    chosen = dict.fromkeys([DEFAULT, *names] if params == rows.project.params else names)
    rules = [name for name in chosen if name in RULES or name == SUPERVISED]
    others = {name: targets[name] for name in chosen if name in targets}
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
    facts = about | {"labels": len(rows.corpus.label_space.labels), "teachers": rows.teachers()}
    facts["gold"] = rows.labelled()
    recorder.write(f"{folder}/setting", facts, seconds=recorder.lap())
    if COSTS in chosen:
        recorder.write(f"{folder}/{COSTS}", about | {"seconds": rows.costs()}, seconds=recorder.lap())
    for name in DIRECT:
        if name in chosen:
            recorder.write(f"{folder}/{name}", about | direct(rows, name), seconds=recorder.lap())
    print(setting.name, rows.corpus.rows, "texts:", planned(rows, chosen, seeds), flush=True)
    for group, count in ((PAIRED, seeds), (ONCE, 1), (FEW, 1)):
        names = [name for name in group if name in chosen and (name not in FEW or name in rows.targets())]
        names = [name for name in names if seeds_of(recorder, f"{folder}/{name}") <= count]
        if names:
            found = students(rows, names, count)
            of_names = found.students.filter(pl.col("rule").is_in(names))
            recorder.write_students(folder, of_names, found.tests, **about)
            for student in of_names.select("rule", "seed", "accuracy", "seconds").rows():
                print(setting.name, rows.corpus.rows, *student, flush=True)


def seeds_of(recorder: Recorder, name: str) -> int:
    """How many seeds a row has that was written before: it is not replaced by one of fewer."""
    written = read(name, recorder.folder)
    return len(written[name]["seeds"]) if name in written else 0


def planned(rows: Rows, chosen: Sequence[str], seeds: int) -> str:
    """How many students there will be, and what one takes."""
    count = seeds * sum(name in chosen for name in PAIRED) + sum(name in chosen for name in (*ONCE, *FEW))
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
    # argparse holds the empty list of no names against the choices too.
    parser.add_argument("names", nargs="*", choices=[*there, []])
    parser.add_argument("--sizes", nargs="+", type=lambda given: None if given == "all" else int(given), default=SIZES)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=ROWS)
    asked = parser.parse_args()
    quiet_libraries()
    recorder = Recorder()
    for setting in [there[name] for name in asked.names] or there.values():
        sizes = sizes_of(setting, asked.sizes)
        if not sizes:
            print(f"{setting.name}: none of these sizes is well below all {len(setting.own_texts().corpus):,} texts")
        for size in sizes:
            with progress() as bars:
                project = build(setting, size, bars)
                measure(project, Rows(project, bars), asked.rows, asked.seeds, recorder)


if __name__ == "__main__":
    main()
