"""Command `predict`: a file of texts with the student's labels."""

from pathlib import Path
from typing import Any

from muki_pipeline.corpus.dialects import Dialect
from muki_pipeline.corpus.formats import full_dialect, read_table, told
from muki_pipeline.deployment.classify import Request, classify_file
from muki_pipeline.errors import MukiError
from muki_pipeline.models.students import load_student
from muki_pipeline.setup.look import show_columns, text_columns
from muki_stages.terminal import progress, quiet_libraries, say


def main(
    source: Path,
    student: Path,
    target: Path | None,
    text: str | None,
    dialect: Dialect,
    *,
    every_label: bool,
    force: bool,
) -> dict[str, Any]:
    """Run the command."""
    quiet_libraries()
    found = full_dialect(source, dialect) or dialect
    request = Request(
        source,
        target or source.with_name(f"{source.stem}.labels.parquet"),
        text or _column(source, found),
        found,
        every_label,
        force,
    )
    with progress() as bars:
        columns = classify_file(load_student(student), student, request, bars)
    say(f"{request.target}: all columns of {source}, and {', '.join(columns[:2])}")
    return {"file": str(request.target), "columns": columns}


def _column(source: Path, dialect: Dialect) -> str:
    frame = read_table(source, dialect=dialect)
    if dialect.delimiter is not None:
        say(f"{source}: {told(dialect, len(frame.columns))}")
    if frame.is_empty():
        raise MukiError("holds no text", where=str(source), fix="Name a file with rows")
    candidates = text_columns(frame)
    if len(candidates) != 1:
        what = f"which column holds the texts? There are {show_columns(frame)}"
        raise MukiError(what, where=str(source), fix="Name it with --text COLUMN")
    return candidates[0]
