"""Command `predict`: a file of texts with the student's labels."""

from pathlib import Path
from typing import Any

from pipeline.corpus.readers import read_table
from pipeline.deployment.classify import classify_file
from pipeline.errors import MukiError
from pipeline.models.students import load_student
from pipeline.setup.look import show_columns, text_columns
from stages.terminal import progress, quiet_libraries, say


def main(source: Path, student: Path, target: Path | None, text: str | None, every_label: bool) -> dict[str, Any]:
    """Run the command."""
    quiet_libraries()
    out = target or source.with_name(f"{source.stem}.labels.parquet")
    with progress() as bars:
        rows = classify_file(load_student(student), student, source, out, text or _column(source), every_label, bars)
    say(f"{out}: {rows:,} texts")
    return {"file": str(out), "texts": rows}


def _column(source: Path) -> str:
    frame = read_table(source)
    candidates = text_columns(frame)
    if len(candidates) != 1:
        what = f"which column holds the texts? There are {show_columns(frame)}"
        raise MukiError(what, where=str(source), fix="Name it with --text COLUMN")
    return candidates[0]
