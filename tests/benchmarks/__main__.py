"""All benchmarks as one table, and a file of results/benchmarks/ for each part: `make bench`.

Every figure is taken side by side in one run. Use: `python -m tests.benchmarks [PART ...]`, all parts by default.
The model is the demo's MiniLM with all its layers. CLINC150 takes part where the environment variable CLINC150 names
its folder, and a corpus of ten million rows where BENCH_MANY is set.
"""

import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from experiments.record import Recorder
from muki_stages.terminal import quiet_libraries
from tests.benchmarks import bfloat16, engines, gpu, integration, labelling, student
from tests.benchmarks.measure import Row

PARTS: dict[str, Callable[[Path], list[Row]]] = {
    "passes": labelling.passes,
    "products": labelling.product_share,
    "bfloat16": bfloat16.bfloat16_passes,
    "engines": engines.against_engines,
    "savings": labelling.savings,
    "loop": labelling.against_the_papers_loop,
    "dropwise": labelling.against_dropwise,
    "around": labelling.around_the_model,
    "integrate": lambda folder: integration.rows(folder, many="BENCH_MANY" in os.environ),
    "student": student.rows,
    "gpu": gpu.on_a_gpu,
}


def shown(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def main(chosen: list[str]) -> None:
    """Run the parts that are named, all of them by default."""
    quiet_libraries()
    recorder = Recorder()
    table = Table(title="Benchmarks: ratios of medians, higher is better unless a ceiling is given")
    for heading in ("what", "target", "measured", "verdict"):
        table.add_column(heading, justify="right" if heading in ("target", "measured") else "left")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        labelling.save_model(folder)
        for part in chosen or PARTS:
            recorder.lap()
            rows = PARTS[part](folder)
            for row in rows:
                target = "" if row.target is None else f"{'≤' if row.at_most else '≥'} {shown(row.target)}"
                what = f"{row.what}, {row.at}" if row.at else row.what
                table.add_row(what, target, shown(row.measured), row.verdict)
                print(f"{what}: {shown(row.measured)} {row.verdict}", file=sys.stderr, flush=True)
            if any(row.measured is not None for row in rows):  # else the part cannot be measured on this machine
                values = {"rows": [asdict(row) for row in rows]}
                recorder.write(f"benchmarks/{part}", values, seconds=recorder.lap(), seeds=[0])
    Console(width=120).print(table)


if __name__ == "__main__":
    main(sys.argv[1:])
