"""Stage `label`: one teacher's Monte-Carlo dropout passes over the corpus."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline import config
from pipeline.labelling.run import LabellingSummary, label_corpus
from stages.terminal import clock, progress, quiet_libraries, say


def main(params_file: Path, teacher: str) -> dict[str, Any]:
    """Run the stage."""
    quiet_libraries()
    params, layout = config.load(params_file)
    settings = config.teacher(params, teacher, params_file)
    with progress() as bars:
        done = label_corpus(teacher, settings, params.label, layout, bars)
    say(
        f"teacher {teacher}: {done.rows:,} texts, {done.new_rows:,} of them labelled now with {params.label.passes} "
        f"passes and one without dropout, {done.truncated:,} cut to {params.label.max_length} tokens"
    )
    if done.arithmetic:
        say(f"teacher {teacher}: arithmetic {done.arithmetic}")
    if done.new_rows:
        say(f"teacher {teacher}: {_cost(done)}")
    return asdict(done)


def _cost(done: LabellingSummary) -> str:
    throughput = done.throughput
    parts = [
        f"{throughput.texts:,} texts x passes in {clock(done.seconds)}",
        f"{throughput.texts / done.seconds:,.0f} a second",
        f"{throughput.tokens:,} tokens",
        f"{1 - throughput.tokens / throughput.positions:.1%} padding",
    ]
    if done.network_share is not None:
        parts.append(f"{done.network_share:.1%} of the time in the network")
    return ", ".join(parts)
