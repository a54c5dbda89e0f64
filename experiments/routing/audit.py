"""What answers buy: how well they tell the share of right teachers, and what the gate makes of them.

Gold labels answer. Texts are asked about as `review` does it (unsure ones more often), and, for comparison, each with
the same chance and the interval of Wilson (1927). Use: `python -m experiments.routing.audit`; a file of
results/answers/ is written for each setting.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from experiments.record import Recorder, slug
from experiments.routing.judge import Asked, ask, base_of, is_built, shown
from experiments.routing.settings import Setting, bases, settings
from muki_pipeline.evaluation import metrics
from muki_pipeline.routing.accuracy import WIDTH, Share, chances, draw, missing, share_of_random, share_right
from muki_pipeline.routing.answers import Anchors
from muki_pipeline.routing.gate.gate import Gate
from muki_pipeline.routing.scorers import gate_inputs

SETTINGS = (
    "HWU64, random 4",
    "HWU64, scenarios 2",
    "Reuters R8, 3",
    "20 Newsgroups, 4",
    "CLINC150, domains 5",
    "one half-trained",
)
ANSWERS = (0, 30, 60, 120, 240)
FEW, DRAWS = 60, 500
"""Answers whose interval is judged, and how often they are drawn."""


def routed(asked: Asked, plain: Gate, posterior: NDArray[np.float64]) -> list[dict[str, float]]:
    """The rule with each count of answers about one half of the texts, judged on the other half."""
    texts, names = gate_inputs(asked.outputs), asked.outputs.names
    assert names is not None
    shuffled = np.random.default_rng(1).permutation(len(posterior))
    open_half, rest = shuffled[::2], shuffled[1::2]
    rows = []
    for count in ANSWERS:
        chance = chances(posterior[open_half].max(axis=1), len(open_half), count)
        drawn = draw(chance, count, seed=0)
        anchors = Anchors(open_half[drawn], asked.columns[open_half[drawn]], 1.0 / chance[drawn])
        router = Gate.fit(texts, names, anchors) if count else plain
        found = router(texts)[rest]
        best = found.argmax(axis=1)
        right = asked.right[rest, best]
        error = metrics.expected_calibration_error(found, np.where(right, best, -1))
        rows.append({"answers": count, "right": float(right.mean()), "calibration_error": error})
    return rows


def told(asked: Asked, posterior: NDArray[np.float64], *, is_active: bool) -> dict[str, float]:
    """What `FEW` answers tell of the share of right teachers, over many draws.

    Returns:
        `half_width` of the 95 % interval and `error` of the share, means; `coverage` of the interval; `needed`, mean of
        how many answers would make it as narrow as `WIDTH`.
    """
    certainty = posterior.max(axis=1)
    is_right = asked.right[np.arange(len(posterior)), posterior.argmax(axis=1)]
    truth = float(is_right.mean())
    chance = chances(certainty if is_active else None, len(posterior), FEW)
    found: list[Share] = []
    for seed in range(DRAWS):
        rows = draw(chance, FEW, seed)
        given = is_right[rows]
        found.append(
            share_right(certainty, certainty[rows], given) if is_active else share_of_random(int(given.sum()), FEW)
        )
    return {
        "half_width": float(np.mean([(each.high - each.low) / 2 for each in found])),
        "error": float(np.mean([abs(each.share - truth) for each in found])),
        "coverage": float(np.mean([each.low <= truth <= each.high for each in found])),
        "needed": float(np.mean([FEW + missing(each, FEW, len(posterior) - FEW) for each in found])),
    }


def measure(setting: Setting) -> dict[str, Any]:
    """Both questions on one setting."""
    asked = ask(setting)
    assert asked.known.all()
    texts, names = gate_inputs(asked.outputs), asked.outputs.names
    assert names is not None
    plain = Gate.fit(texts, names)
    posterior = plain(texts)
    few = {name: told(asked, posterior, is_active=name == "active") for name in ("active", "random")}
    right = float(asked.right[np.arange(len(posterior)), posterior.argmax(axis=1)].mean())
    about = {"setting": setting.name, "right": right, "answers": FEW, "draws": DRAWS, "width": WIDTH}
    return about | {"told": few, "rows": routed(asked, plain, posterior)}


def main() -> None:
    """Measure every setting, write what came out and print it as a table."""
    recorder = Recorder()
    table = Table(title=f"What {FEW} answers tell of the share of right teachers")
    for heading in ("setting", "right", "texts asked about", "±", "error", "coverage", f"answers for ±{WIDTH}"):
        table.add_column(heading)
    for setting in settings([base.name for base in bases() if is_built(base)]):
        if setting.name in SETTINGS:
            values = measure(setting)
            seeds = [base_of(setting.base).seed]
            recorder.write(f"answers/{slug(setting.name)}", values, seconds=recorder.lap(), seeds=seeds)
            for name, each in values["told"].items():
                figures = (shown(each[key]) for key in ("half_width", "error", "coverage"))
                table.add_row(setting.name, shown(values["right"]), name, *figures, f"{each['needed']:.0f}")
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
