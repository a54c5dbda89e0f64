"""What answers buy: the gate with 0 to 200 answers, half of them drawn at random and half of least margin.

Gold labels answer. Use: `python -m experiments.routing.audit`; a file of results/answers/ is written for each setting.
"""

import numpy as np
from rich.console import Console
from rich.table import Table

from experiments.record import Recorder, slug
from experiments.routing.judge import Asked, ask, base_of, is_built, shown
from experiments.routing.settings import Setting, bases, settings
from muki_pipeline.evaluation import metrics
from muki_pipeline.routing.answers import Anchors
from muki_pipeline.routing.gate.gate import Gate
from muki_pipeline.routing.scorers import gate_inputs
from muki_pipeline.supervision.strategies import teacher_margins

SETTINGS = ("HWU64, random 4", "Reuters R8, 3", "20 Newsgroups, 3", "one half-trained")
ANSWERS = (0, 25, 50, 100, 200)


def draw(asked: Asked, posterior: np.ndarray, count: int) -> Anchors:
    """Half of `count` texts at random, the other half of least margin, with their gold labels."""
    rows = np.arange(len(asked.columns))
    at_random = np.random.default_rng(0).permutation(rows)[: -(-count // 2)]
    others = np.setdiff1d(rows, at_random)
    conflicts = others[np.argsort(teacher_margins(posterior[others]), kind="stable")][: count // 2]
    chosen = np.concatenate([at_random, conflicts])
    return Anchors(chosen, asked.columns[chosen], np.arange(len(chosen)) < len(at_random))


def judge(asked: Asked, posterior: np.ndarray, anchors: Anchors) -> dict[str, float]:
    """Right teacher and calibration on the texts that nobody was asked about."""
    rest = np.setdiff1d(np.arange(len(asked.columns)), anchors.rows)
    best = posterior[rest].argmax(axis=1)
    right = asked.right[rest, best]
    return {
        "right": float(right.mean()),
        "posterior": float(posterior[rest].max(axis=1).mean()),
        "calibration_error": metrics.expected_calibration_error(posterior[rest], np.where(right, best, -1)),
    }


def measure(setting: Setting) -> list[dict[str, float]]:
    """The rule with each count of answers."""
    asked = ask(setting)
    texts, names = gate_inputs(asked.outputs), asked.outputs.names
    assert names is not None
    plain = Gate.fit(texts, names)
    posterior = plain(texts)
    rows = []
    for count in ANSWERS:
        anchors = draw(asked, posterior, count)
        router = Gate.fit(texts, names, anchors) if count else plain
        rows.append({"answers": count, **judge(asked, router(texts), anchors)})
    return rows


def main() -> None:
    """Measure every setting, write what came out and print it as a table."""
    recorder = Recorder()
    table = Table(title="Answers")
    for heading in ("setting", "answers", "right teacher, others", "mean posterior", "calibration error"):
        table.add_column(heading)
    for setting in settings([base.name for base in bases() if is_built(base)]):
        if setting.name in SETTINGS:
            rows = measure(setting)
            values = {"setting": setting.name, "rows": rows}
            seeds = [base_of(setting.base).seed]
            recorder.write(f"answers/{slug(setting.name)}", values, seconds=recorder.lap(), seeds=seeds)
            for row in rows:
                count, *figures = row.values()
                table.add_row(setting.name, str(count), *map(shown, figures))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
