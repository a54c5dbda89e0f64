"""The campaign as a table and as results/faults.json; exit code 1 if any outcome is not allowed.

Use: `python -m tests.faults` for at most 20 minutes of it, `python -m tests.faults SECONDS` for another bound, and
`python -m tests.faults short` for some sixty cases, which write no file.
"""

import random
import sys
import tempfile
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from experiments.record import Recorder
from tests.faults import campaign, project, users, with_dvc

SEED = 0


def main(budget: float, share: float, kills: int, flips: int, rounds: int) -> dict[str, campaign.Row]:
    """Run the campaign.

    Args:
        budget: Seconds after which no further case begins.
        share: Share of the faults at file operations that are injected, 1 for all.
        kills: Kills at random moments for each command.
        flips: Flipped bits.
        rounds: Races.
    """
    random.seed(SEED)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        cases = project.cases(root)
        scratch = root / "scratch"
        scratch.mkdir()
        jobs = list(
            chain(
                campaign.truncated(cases),
                campaign.changed(cases) if share == 1 else (),
                campaign.races(cases, rounds),
                campaign.mixed_races(cases, share),
                with_dvc.cases(root / "repositories") if share == 1 else (),
                users.files(10 if share < 1 else 300),
                users.names(20 if share < 1 else 1000),
                users.models(share),
                users.init_projects(1) if share == 1 else (),
                campaign.flipped(cases, flips),
                campaign.at_every_operation(cases, scratch, share),
                campaign.killed_at_random(cases, kills),
            )
        )
        random.shuffle(jobs)  # so that time runs out for every kind alike
        return campaign.run_all(iter(jobs), scratch, budget)


def show(rows: dict[str, campaign.Row]) -> None:
    """Print the table, and every bad outcome."""
    table = Table(title="Faults")
    for heading in ("what was injected", "times", "not run: time was up", "bad outcomes", "seconds"):
        table.add_column(heading, justify="left" if heading.startswith("what") else "right")
    for row in rows.values():
        table.add_row(row.kind, f"{row.runs:,}", f"{row.left:,}", str(len(row.bad)), f"{row.seconds:.0f}")
    Console(width=120).print(table)  # a kind must stay on its line where there is no terminal
    for row in rows.values():
        for bad in row.bad[:20]:
            print(f"{row.kind}: {bad}")


def figures(rows: dict[str, campaign.Row]) -> dict[str, Any]:
    """What `main` returns as the values of results/faults.json."""
    return {"rows": [asdict(row) for row in rows.values()]}


if __name__ == "__main__":
    wanted = sys.argv[1] if len(sys.argv) > 1 else "1080"
    if wanted == "short":
        results = main(budget=600, share=0.012, kills=1, flips=14, rounds=7)
    else:
        recorder = Recorder()
        results = main(budget=float(wanted), share=1, kills=100, flips=1000, rounds=50)
        recorder.write("faults", figures(results), seconds=recorder.lap(), seeds=[SEED])
    show(results)
    # The short part must be whole: it is what the tests run.
    sys.exit(1 if any(row.bad or (wanted == "short" and row.left) for row in results.values()) else 0)
