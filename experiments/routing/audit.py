"""What answers buy: the gate with 0 to 200 answers, half of them drawn at random and half of least margin.

Gold labels answer. Use: `python -m experiments.routing.audit`.
"""

import numpy as np
from rich.console import Console
from rich.table import Table

from experiments.routing.judge import Asked, ask, is_built
from experiments.routing.settings import bases, settings
from muki_pipeline.evaluation import metrics
from muki_pipeline.routing.answers import Anchors
from muki_pipeline.routing.gate.gate import Gate
from muki_pipeline.routing.scorers import gate_inputs
from muki_pipeline.supervision.strategies import margins

SETTINGS = ("HWU64, random 4", "Reuters R8, 3", "20 Newsgroups, 3", "one half-trained")
ANSWERS = (0, 25, 50, 100, 200)


def draw(asked: Asked, posterior: np.ndarray, count: int) -> Anchors:
    """Half of `count` texts at random, the other half of least margin, with their gold labels."""
    rows = np.arange(len(asked.columns))
    at_random = np.random.default_rng(0).permutation(rows)[: -(-count // 2)]
    others = np.setdiff1d(rows, at_random)
    conflicts = others[np.argsort(margins(posterior[others]), kind="stable")][: count // 2]
    chosen = np.concatenate([at_random, conflicts])
    return Anchors(chosen, asked.columns[chosen], np.arange(len(chosen)) < len(at_random))


def judge(asked: Asked, posterior: np.ndarray, anchors: Anchors) -> list[str]:
    """Right teacher and calibration on the texts that nobody was asked about."""
    rest = np.setdiff1d(np.arange(len(asked.columns)), anchors.rows)
    best = posterior[rest].argmax(axis=1)
    right = asked.right[rest, best]
    said = posterior[rest].max(axis=1)
    error = metrics.expected_calibration_error(posterior[rest], np.where(right, best, -1))
    return [f"{right.mean():.3f}", f"{said.mean():.3f}", f"{error:.3f}"]


def main() -> None:
    """Print the table."""
    table = Table(title="Answers")
    for heading in ("setting", "answers", "right teacher, others", "mean posterior", "calibration error"):
        table.add_column(heading)
    built = [base.name for base in bases() if is_built(base)]
    for setting in settings(built):
        if setting.name not in SETTINGS:
            continue
        asked = ask(setting)
        texts = gate_inputs(asked.outputs)
        assert asked.outputs.names is not None
        plain = Gate.fit(texts, asked.outputs.names)
        posterior = plain(texts)
        for count in ANSWERS:
            anchors = draw(asked, posterior, count)
            router = Gate.fit(texts, asked.outputs.names, anchors) if count else plain
            table.add_row(setting.name, str(count), *judge(asked, router(texts), anchors))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
