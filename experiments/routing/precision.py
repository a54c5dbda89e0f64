"""What bfloat16 costs: the default rule on every setting, with labels made in float32 and in bfloat16.

Use: `python -m experiments.routing.precision`, after `build`. The bfloat16 labels lie in `data-bfloat16/`; a file of
results/precision/ is written for each setting.
"""

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from rich.console import Console
from rich.table import Table

from experiments.record import Recorder, slug
from experiments.routing.build import label
from experiments.routing.judge import ask, base_of, is_built, judge, shown
from experiments.routing.settings import DATA, Base, bases, settings
from muki_pipeline.config import Dtype

BFLOAT16 = DATA.with_name("data-bfloat16")
JUDGED = ("mc_entropy", "mutual_information", "gate")


def share(base: Base) -> None:
    """Give a base a second folder, in which everything but the labels is shared."""
    target = BFLOAT16 / base.name / "data"
    (target / "labels").mkdir(parents=True, exist_ok=True)
    for path in (DATA / base.name / "data").iterdir():
        if path.name not in ("labels", ".work") and not (target / path.name).exists():
            (target / path.name).symlink_to(path)


def main() -> None:
    """Label in bfloat16, judge both, write what came out and print it as a table."""
    recorder = Recorder()
    built = [base for base in bases() if is_built(base)]
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as pool:
        for base in built:
            share(base)
            names = list(base.teachers)
            bfloat16: Dtype = "bfloat16"
            list(pool.map(label, [base] * len(names), names, [BFLOAT16] * len(names), [bfloat16] * len(names)))
    table = Table(title="Share of texts whose right teacher has the best score, float32 / bfloat16")
    for heading in ("setting", *JUDGED, "change of the last"):
        table.add_column(heading)
    for setting in settings([base.name for base in built]):
        exact, fast = ask(setting), ask(setting, BFLOAT16, "bfloat16")
        rules = {name: {"float32": judge(name, exact).right, "bfloat16": judge(name, fast).right} for name in JUDGED}
        values = {"setting": setting.name, "texts": len(exact.known), "rules": rules}
        seeds = [base_of(setting.base).seed]
        recorder.write(f"precision/{slug(setting.name)}", values, seconds=recorder.lap(), seeds=seeds)
        cells = [f"{shown(right['float32'])} / {shown(right['bfloat16'])}" for right in rules.values()]
        change = rules[JUDGED[-1]]["bfloat16"] - rules[JUDGED[-1]]["float32"]
        table.add_row(setting.name, *cells, f"{100 * change:+.2f}")
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
