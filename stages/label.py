"""Stage `label`: one teacher's Monte-Carlo dropout passes over the corpus."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from pipeline import config
from pipeline.label_store import Labelled, label_corpus
from stages.show import progress, quiet_libraries, say

WORTH_SAYING = 60
"""Seconds of work from which on an estimate is given beforehand."""


def main(params_file: Path, teacher: str) -> None:
    """Run the stage."""
    quiet_libraries()
    params, layout = config.load(params_file)
    settings = config.teacher(params, teacher, params_file)
    with progress("texts x passes") as begin_bar:

        def begin(total: int, seconds: float) -> Callable[[int], None]:
            if seconds > WORTH_SAYING:
                say(f"teacher {teacher}: {total:,} texts x passes will take about {_clock(seconds)}")
            return begin_bar(f"label with {teacher}", total)

        done = label_corpus(teacher, settings, params.label, layout, begin)
    say(
        f"teacher {teacher}: {done.rows:,} texts, {done.new_rows:,} of them labelled now with {params.label.passes} "
        f"passes and one without dropout, {done.truncated:,} cut to {params.label.max_length} tokens"
    )
    if done.new_rows:
        say(f"teacher {teacher}: {_cost(done)}")


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def _cost(done: Labelled) -> str:
    work = done.work
    parts = [
        f"{work.texts:,} texts x passes in {_clock(done.seconds)}",
        f"{work.texts / done.seconds:,.0f} a second",
        f"{work.tokens:,} tokens",
        f"{1 - work.tokens / work.positions:.1%} padding",
    ]
    if done.network_share is not None:
        parts.append(f"{done.network_share:.1%} of the time in the network")
    return ", ".join(parts)
