"""The command line. Heavy imports stand inside the commands, so that --help answers at once."""

import errno
import gc
import json
import sys
import traceback
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from muki_pipeline.errors import MukiError
from muki_pipeline.labelling.network.allocator import keep_freed_memory

app = typer.Typer(
    name="muki-pipeline",
    help="Merge text classifiers with different label sets into one, from unlabelled text alone.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

ParamsFile = Annotated[Path, typer.Option("--params", help="The settings; paths in them are relative to this file.")]
TeacherName = Annotated[str, typer.Option("--teacher", help="A teacher's name in params.yaml.")]
DEFAULT_PARAMS = Path("params.yaml")
Delimiter = Annotated[
    Literal["comma", "semicolon", "tab", "bar"] | None,
    typer.Option("--delimiter", help="What separates the columns of a CSV file; found out by default."),
]
Quote = Annotated[
    Literal["doubled", "escaped", "none"] | None,
    typer.Option("--quote", help="How quotes are written inside of quotes; found out by default."),
]
Header = Annotated[
    bool | None, typer.Option("--header/--no-header", help="Whether the first row names the columns (else: numbers).")
]
_DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "bar": "|", None: None}
Engine = Annotated[Literal["local", "ray"], typer.Option("--engine", help="Work on this machine or on a Ray cluster.")]
Address = Annotated[str | None, typer.Option("--address", help="The Ray cluster's; auto for this machine's.")]


_debug = _as_json = False


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of every error.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing but warnings and errors.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show what the library logs, too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the command's result as JSON.")] = False,
) -> None:
    """Merge text classifiers with different label sets into one, from unlabelled text alone."""
    global _debug, _as_json  # the handler of errors runs outside of any command
    _debug, _as_json = debug, as_json
    from muki_stages import terminal

    terminal.configure(quiet=quiet, verbose=verbose)


def _result(content: dict[str, Any]) -> None:
    """Print a command's result where that is wanted."""
    if _as_json:
        print(json.dumps(content, default=str))


@app.command()
def init(
    models: Annotated[list[str], typer.Argument(help="Folders of fine-tuned classifiers, or hub ids (ID@COMMIT).")],
    texts: Annotated[Path, typer.Option("--texts", help="A file with the unlabelled texts.")],
    text: Annotated[str | None, typer.Option("--text", help="Its column with the texts.")] = None,
    test: Annotated[Path | None, typer.Option("--test", help="A file with labelled texts, to measure with.")] = None,
    label: Annotated[str | None, typer.Option("--label", help="The test file's column with the labels.")] = None,
    student: Annotated[str | None, typer.Option("--student", help="The pretrained model of the student.")] = None,
    labels: Annotated[
        list[str] | None, typer.Option("--labels", help="Label names a config lacks: TEACHER=first,second.")
    ] = None,
    delimiter: Delimiter = None,
    quote: Quote = None,
    header: Header = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite params.yaml and dvc.yaml.")] = False,
) -> None:
    """Write params.yaml and dvc.yaml into this folder, from models and texts that are there."""
    from muki_pipeline.corpus.dialects import Dialect
    from muki_stages import init as stage

    files = stage.Files(texts, text, test, label, Dialect(_DELIMITERS[delimiter], quote, header))
    stage.main(models, files, student, labels or [], force)


@app.command()
def dvc(
    params: ParamsFile = DEFAULT_PARAMS,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a dvc.yaml of your own.")] = False,
) -> None:
    """Write dvc.yaml from params.yaml: each stage with all that it reads. Needed after a file or teacher was added."""
    from muki_stages import dvc_file as stage

    _result(stage.main(params, force))


@app.command()
def doctor(params: ParamsFile = DEFAULT_PARAMS) -> None:
    """Try everything on a few texts and estimate the cost: exit code 0, 1 after warnings, 2 after errors."""
    from muki_stages import doctor as stage

    found = stage.main(params)
    _result(found)
    raise typer.Exit(found["exit_code"])


@app.command()
def run(params: ParamsFile = DEFAULT_PARAMS) -> None:
    """Run all stages in order, without DVC. What is finished is not done again."""
    from muki_stages import run as stage

    _result(stage.main(params))


@app.command()
def prepare(params: ParamsFile = DEFAULT_PARAMS) -> None:
    """Turn the text source into the corpus, and set gold labels aside for evaluation."""
    from muki_stages import prepare as stage

    _result(stage.main(params))


@app.command()
def train_teacher(teacher: TeacherName, params: ParamsFile = DEFAULT_PARAMS) -> None:
    """Train one of the demo's own teachers. If you have teachers, name them in params.yaml instead."""
    from muki_stages import train_teacher as stage

    _result(stage.main(params, teacher))


@app.command()
def label(
    teacher: Annotated[str, typer.Option("--teacher", help="A teacher's name in params.yaml, or all.")],
    params: ParamsFile = DEFAULT_PARAMS,
    engine: Engine = "local",
    workers: Annotated[int | None, typer.Option("--workers", min=1, help="How many shards at a time.")] = None,
    address: Address = None,
    cores: Annotated[int, typer.Option("--cores", min=1, help="Cores of a Ray worker without a GPU.")] = 1,
) -> None:
    """Run one teacher with K dropout passes over the corpus. Continues where a killed run stopped."""
    from muki_stages import label as stage

    _result(stage.main(params, teacher, stage.Engine(engine, workers, address, cores)))


@app.command()
def sweep(
    params: ParamsFile = DEFAULT_PARAMS,
    hours: Annotated[float, typer.Option("--hours", min=0, help="Keep what is younger than this.")] = 24,
) -> None:
    """Delete what killed runs left in the bucket that params.yaml names as store."""
    from muki_stages import sweep as stage

    _result(stage.main(params, hours))


@app.command()
def average(
    out: Annotated[Path, typer.Option("--out", help="The folder to write.")],
    params: ParamsFile = DEFAULT_PARAMS,
) -> None:
    """Average teachers that share a pretrained model into one classifier, for the student to start from."""
    from muki_stages import average as stage

    _result(stage.main(params, out))


@app.command()
def embed(params: ParamsFile = DEFAULT_PARAMS) -> None:
    """Embed every text and label name with a neutral encoder. Continues where a killed run stopped."""
    from muki_stages import embed as stage

    _result(stage.main(params))


@app.command()
def integrate(params: ParamsFile = DEFAULT_PARAMS, engine: Engine = "local", address: Address = None) -> None:
    """Join all teachers' labels into golden supervision."""
    from muki_stages import integrate as stage

    _result(stage.main(params, engine, address))


@app.command()
def train_student(
    params: ParamsFile = DEFAULT_PARAMS,
    processes: Annotated[int, typer.Option("--processes", min=1, help="Processes, one for each GPU.")] = 1,
) -> None:
    """Train the student from golden supervision alone. Continues from its last checkpoint."""
    from muki_stages import train_student as stage

    _result(stage.main(params, processes))


@app.command()
def evaluate(params: ParamsFile = DEFAULT_PARAMS) -> None:
    """Measure the student, the routed teachers and the supervision wherever gold labels are known."""
    from muki_stages import evaluate as stage

    _result(stage.main(params))


@app.command()
def compare(params: ParamsFile = DEFAULT_PARAMS) -> None:
    """Train a student for every rule and seed from the stored labels, and show which rule is best."""
    from muki_stages import compare as stage

    _result(stage.main(params, _as_json))


@app.command()
def review(
    params: ParamsFile = DEFAULT_PARAMS,
    texts: Annotated[int, typer.Option("--texts", min=2, help="How many texts to ask about.")] = 100,
    read: Annotated[Path | None, typer.Option("--read", help="Read the answers in this file.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing review.csv.")] = False,
) -> None:
    """Write texts for a person to check, or read the answers: how often is the right teacher chosen?"""
    from muki_stages import review as stage

    stage.main(params, texts, read, force)


@app.command()
def predict(
    texts: Annotated[Path, typer.Argument(help="A file with texts, of any format that prepare reads.")],
    text: Annotated[str | None, typer.Option("--text", help="Its column with the texts.")] = None,
    student: Annotated[Path, typer.Option("--student", help="The student's folder.")] = Path("data/student"),
    out: Annotated[
        Path | None, typer.Option("--out", help="A .parquet, .csv, .tsv, .jsonl or .xlsx file for the answers.")
    ] = None,
    all_labels: Annotated[bool, typer.Option("--all", help="Write the probability of every label.")] = False,
    delimiter: Delimiter = None,
    quote: Quote = None,
    header: Header = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file of answers.")] = False,
) -> None:
    """Add the student's label and its probability to a file of texts. Continues where a killed run stopped."""
    from muki_pipeline.corpus.dialects import Dialect
    from muki_stages import predict as stage

    dialect = Dialect(_DELIMITERS[delimiter], quote, header)
    _result(stage.main(texts, student, out, text, dialect, every_label=all_labels, force=force))


@app.command()
def export(
    onnx: Annotated[Path, typer.Option("--onnx", help="The folder to write.")],
    params: ParamsFile = DEFAULT_PARAMS,
    int8: Annotated[bool, typer.Option("--int8", help="Also a model with weights in 8 bits.")] = False,
) -> None:
    """Write the student as ONNX, with head, label names and tokenizer."""
    from muki_stages import export as stage

    _result(stage.main(params, onnx, int8))


@app.command()
def report(params: ParamsFile = DEFAULT_PARAMS) -> None:
    """Write data/report.html, the results on one page."""
    from muki_stages import report as stage

    _result(stage.main(params))


@app.command()
def inspect(
    params: ParamsFile = DEFAULT_PARAMS,
    text_id: Annotated[str | None, typer.Option("--id", help="Show one text and every teacher's answer to it.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Answer in JSON, for machines.")] = False,
) -> None:
    """Show what is in the store, or one text with its labels, target and weight."""
    from muki_stages import inspection as stage

    stage.main(params, text_id, as_json or _as_json)


@app.command()
def results(params: ParamsFile = DEFAULT_PARAMS) -> None:
    """Show the measured figures as tables, and where to look next."""
    from muki_stages import results as stage

    _result(stage.main(params, _as_json))


_REMEDIES = {
    errno.ENOSPC: "Free some space",
    errno.EDQUOT: "Free some space",
    errno.EROFS: "Use a disk that can be written",
    errno.EACCES: "Correct the permissions",
    errno.EPERM: "Correct the permissions",
    errno.EMFILE: "Raise the limit of open files (ulimit -n)",
    errno.EIO: "Check the disk",
}


def explain(error: Exception) -> str | None:
    """One line about an error that the user can correct; None for a fault of this program."""
    if isinstance(error, MukiError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        remedy = _REMEDIES.get(error.errno or 0, "Check this path")
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}. {remedy}, then run the command again: what is finished is kept."
    if isinstance(error, MemoryError) or "out of memory" in str(error) or "can't allocate memory" in str(error):
        return "out of memory. Lower label.token_budget or student.batch_size, or use a larger machine."
    return None


def main() -> None:
    """Run a command; a mistake that the user can correct is one line on stderr and exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a terminal that lacks a character shows its number
            stream.reconfigure(errors="backslashreplace")
    keep_freed_memory()
    # Loading torch makes a million objects and no garbage: looking for it after every 700 takes a sixth of the time.
    gc.set_threshold(50_000)
    try:
        app()
    except Exception as error:
        line = explain(error)
        if line is None or _debug:
            traceback.print_exc()
        if line is None:
            print("This is a fault of muki-pipeline. Please report it with the lines above.", file=sys.stderr)
            sys.exit(1)
        print(f"error: {line}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
