"""Command `predict`: a file of texts with the student's labels."""

from pathlib import Path
from typing import Annotated, Any

import typer

from muki_pipeline import config
from muki_pipeline.corpus.dialects import Dialect
from muki_pipeline.corpus.formats import describe_dialect, full_dialect, read_table
from muki_pipeline.deployment.classify import Classifier, Request, classify_file
from muki_pipeline.errors import MukiError
from muki_pipeline.evaluation.routed_teachers import open_routed_teachers
from muki_pipeline.freshness import changed_settings
from muki_pipeline.layout import Layout
from muki_pipeline.setup.look import show_columns, text_columns
from muki_stages.options import DELIMITERS, PARAMS, Delimiter, Header, ParamsFile, Quote
from muki_stages.terminal import progress, quiet_libraries, say, warn


def main(
    source: Annotated[Path, typer.Argument(help="A file with texts, of any format that prepare reads.")],
    text: Annotated[
        str | None, typer.Option("--text", help="Its column with the texts; by default as in the corpus.")
    ] = None,
    student: Annotated[
        Path | None, typer.Option("--student", help="The student's folder; by default data/student of the project.")
    ] = None,
    routed: Annotated[
        bool, typer.Option("--routed", help="Ask the teachers and their router instead of the student.")
    ] = False,
    params_file: ParamsFile = PARAMS,
    target: Annotated[
        Path | None, typer.Option("--out", help="A .parquet, .csv, .tsv, .jsonl or .xlsx file for the answers.")
    ] = None,
    every_label: Annotated[bool, typer.Option("--all", help="Write the probability of every label.")] = False,
    delimiter: Delimiter = None,
    quote: Quote = None,
    header: Header = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file of answers.")] = False,
) -> dict[str, Any]:
    """Add a label and its probability to a file of texts, by the student. Continues where a killed run stopped."""
    quiet_libraries()
    project = config.load(params_file) if student is None and params_file.is_file() else None
    if project and not routed and (changed := changed_settings(*project)):
        warn(f"the student is of earlier settings: {changed}")
    dialect = Dialect(DELIMITERS[delimiter], quote, header)
    found = full_dialect(source, dialect) or dialect
    request = Request(
        source,
        target or source.with_name(f"{source.stem}.labels.parquet"),
        text or _column(source, found, project and project[0].prepare.corpus.text),
        found,
        every_label,
        force,
    )
    with progress() as bars:
        columns = classify_file(_classifier(student, params_file, routed=routed), request, bars)
    more = f", and a probability for each of {len(columns) - 2} labels" if every_label else ""
    say(f"{request.target}: all columns of {source}, and {', '.join(columns[:2])}{more}")
    return {"file": str(request.target), "columns": columns}


def _classifier(student: Path | None, params_file: Path, *, routed: bool) -> Classifier:
    """The teachers of a project with their router, or a student: the project's unless a folder is named."""
    if routed:
        return open_routed_teachers(*config.load(params_file))
    from muki_pipeline.models.loaded.student import load_student  # imports torch: the file with the texts is read first

    return load_student(student or Layout(params_file.parent).student)


def _column(source: Path, dialect: Dialect, usual: str | None) -> str:
    """The column with the texts: the usual one if it is there, else the only one that it can be."""
    frame = read_table(source, dialect=dialect)
    if dialect.delimiter is not None:
        say(f"{source}: {describe_dialect(dialect, len(frame.columns))}")
    if frame.is_empty():
        raise MukiError("holds no text", where=str(source), fix="Name a file with rows")
    if usual in frame.columns:
        return str(usual)
    candidates = text_columns(frame)
    if len(candidates) != 1:
        what = f"which column holds the texts? There are {show_columns(frame)}"
        raise MukiError(what, where=str(source), fix="Name it with --text COLUMN")
    return candidates[0]
