"""Command `init`: params.yaml and dvc.yaml from models and texts that are there."""

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer
from pydantic import ValidationError

from muki_pipeline import strict_yaml
from muki_pipeline.blocks import Delimited
from muki_pipeline.corpus.dialects import UNKNOWN, Dialect
from muki_pipeline.corpus.formats import describe_dialect, full_dialect, kind_of, names_of, read_table
from muki_pipeline.corpus.readers import check_filled, dialect_of, null_remedy
from muki_pipeline.errors import MukiError, brief, choice
from muki_pipeline.setup import look
from muki_pipeline.setup.settings import Texts, refuse_existing, render, student_model, write_project
from muki_pipeline.store.files import expanded
from muki_stages.options import DELIMITERS, Delimiter, Header, Quote
from muki_stages.terminal import quiet_libraries, say


@dataclass(frozen=True)
class Files:
    """The files that a project is made of.

    Attributes:
        texts: The unlabelled texts.
        text: Their column.
        test: Labelled texts.
        label: The column with their labels.
        dialect: What is known of how columns are written: of both files where they are of one kind, else of the first
            that has columns to be found out.
    """

    texts: Path
    text: str | None
    test: Path | None
    label: str | None
    dialect: Dialect


def main(
    models: Annotated[
        list[str],
        typer.Argument(help="Folders of fine-tuned classifiers, hub ids (ID@COMMIT), or files of stored answers."),
    ],
    texts: Annotated[Path, typer.Option("--texts", help="A file with the unlabelled texts.")],
    text: Annotated[str | None, typer.Option("--text", help="Its column with the texts.")] = None,
    test: Annotated[Path | None, typer.Option("--test", help="A file with labelled texts, to measure with.")] = None,
    label: Annotated[str | None, typer.Option("--label", help="The test file's column with the labels.")] = None,
    student: Annotated[str | None, typer.Option("--student", help="The pretrained model of the student.")] = None,
    labels: Annotated[
        list[str] | None, typer.Option("--labels", help="Label names a config lacks: TEACHER=first,second.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="More of a teacher's settings, as in params.yaml: TEACHER.KEY=VALUE."),
    ] = None,
    delimiter: Delimiter = None,
    quote: Quote = None,
    header: Header = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite params.yaml and dvc.yaml.")] = False,
) -> None:
    """Write params.yaml and dvc.yaml into this folder, from models and texts that are there."""
    quiet_libraries()
    files = Files(texts, text, test, label, Dialect(DELIMITERS[delimiter], quote, header))
    root = Path.cwd()
    if not force:
        refuse_existing(root)
    if label is not None and test is None:
        what = "is a column of labelled texts, and no file of them is named"
        raise MukiError(what, where=f"--label {label}", fix="Name it with --test")
    names = look.teacher_names(models)
    given = dict(_given_labels(each, names) for each in labels or [])
    more = _given_settings(settings or [], names)
    corpus = _texts(files.texts, files.text, files.dialect)
    from muki_pipeline.setup import candidates  # imports torch: what is wrong with the texts is said before that

    teachers = [
        candidates.find_teacher(name, model, root, given.get(name), _of_file(model, corpus.text, more.get(name, {})))
        for name, model in zip(names, models, strict=True)
    ]
    union = [label for teacher in teachers for label in teacher.labels]
    held_out = None if files.test is None else _labelled(files.test, files, corpus, union)
    base = student_model(student, root)
    column = read_table(files.texts, [corpus.text], corpus.dialect)[corpus.text]
    lengths = candidates.fitting_lengths(teachers, look.sample(column), base, root)
    pairs = look.pairs_of_labels({each.name: each.labels for each in teachers})
    content = render(corpus, held_out, teachers, lengths, base, pairs)
    for path in write_project(root, content, force=force):
        say(f"wrote {path}")
    for each in teachers:
        reads = "reads texts of any length" if each.longest is None else f"reads up to {each.longest} tokens"
        say(f"teacher {each.name}: {len(each.labels)} labels, {reads if each.tokenizer else 'a file of answers'}")
    for pair in look.paired_teachers(pairs):
        kind = "in common, which become one"
        if not pair.is_shared:
            kind = "with almost equal names, for aliases if they mean the same"
        say(f"labels of {' and '.join(pair.teachers)}: {pair.subject} {kind}: {pair.labels}")
    say("next: muki-pipeline doctor, then muki-pipeline run, or dvc repro in a folder of git and DVC")


def _given_labels(option: str, names: list[str]) -> tuple[str, list[str]]:
    name, _, labels = option.partition("=")
    if name not in names or not labels:
        raise MukiError(
            "is not TEACHER=LABEL,LABEL", where=f"--labels {option}", fix=f"Teachers are {', '.join(names)}"
        )
    return name, [label.strip() for label in labels.split(",")]


def _given_settings(options: list[str], names: list[str]) -> dict[str, dict[str, Any]]:
    """For each teacher the keys that `--set TEACHER.KEY=VALUE` gives, values as in YAML."""
    found: dict[str, dict[str, Any]] = {}
    for option in options:
        place, _, value = option.partition("=")
        name, _, key = place.partition(".")
        if name not in names or not key or not value:
            fix = f"Teachers are {', '.join(names)}"
            raise MukiError("is not TEACHER.KEY=VALUE", where=f"--set {option}", fix=fix)
        try:
            found.setdefault(name, {})[key] = strict_yaml.read(value)
        except strict_yaml.YAMLError as error:
            raise MukiError(f"is no YAML ({brief(error)})", where=f"--set {option}", fix="Correct it") from None
    return found


def _of_file(model: str, text: str, given: dict[str, Any]) -> dict[str, Any]:
    """What is given of a teacher and, of a file of answers, that it calls its texts as the corpus does, if it does."""
    path = expanded(model)
    if "text" in given or text == "text" or not path.is_file():
        return given
    try:
        read = Delimited.model_validate({key: given[key] for key in Delimited.model_fields if key in given})
    except ValidationError:  # is told with the teacher's other settings
        return given
    return {"text": text, **given} if text in names_of(path, dialect_of(read)) else given


def _texts(path: Path, text: str | None, given: Dialect) -> Texts:
    """The texts of a file, in the column that is named, the only one that it can be or that a person chooses."""
    dialect = _dialect(path, given)
    frame = read_table(path, None if text is None else [text], dialect)
    if text is not None:
        _check_column(text, path, dialect)
    if frame.is_empty():
        raise MukiError("holds no text", where=str(path), fix="Name a file with rows")
    column = text or _choose("text", look.longest_first(frame, look.text_columns(frame)), path, frame)
    _check_filled(frame, column, path)
    return Texts(str(path), column, dialect=dialect)


def _dialect(path: Path, given: Dialect) -> Dialect:
    """How a file's columns are written; what was found out is said."""
    dialect = full_dialect(path, given) or UNKNOWN
    if dialect.delimiter:
        say(f"{path}: {describe_dialect(dialect, len(names_of(path, dialect)))}")
    return dialect


def _check_column(name: str, path: Path, dialect: Dialect) -> None:
    if name not in (names := names_of(path, dialect)):
        raise MukiError(f"no column {name!r}", where=str(path), fix=choice(name, names))


def _check_filled(frame: pl.DataFrame, name: str, path: Path) -> None:
    """What `prepare` would refuse is refused here."""
    values = frame[name].drop_nulls()
    if values.is_empty() or (values.dtype == pl.String and not (values.str.strip_chars() != "").any()):
        raise MukiError(
            f"every row of the column {name!r} is empty", where=str(path), fix="Name another column or file"
        )
    check_filled(frame[name], name, str(path), null_remedy(kind_of(path)))


def _labelled(test: Path, files: Files, corpus: Texts, union: list[str]) -> Texts:
    """The test set: its texts in the column of the corpus's if it has one, else in the likeliest."""
    is_alike = corpus.dialect == UNKNOWN or kind_of(test) == kind_of(files.texts)
    dialect = _dialect(test, files.dialect if is_alike else Dialect(header=files.dialect.header))
    if files.label:
        _check_column(files.label, test, dialect)
    text = corpus.text if corpus.text in names_of(test, dialect) else None
    frame = read_table(test, [text, files.label] if text and files.label else None, dialect)
    if frame.is_empty():
        raise MukiError("holds no text", where=str(test), fix="Name a file with rows")
    labels = [files.label] if files.label else look.label_columns(frame.drop(text or []), union)
    if text is None:
        names = look.text_columns(frame.drop(labels))
        fix = f"Call it {corpus.text}, as in {corpus.source}"
        text = _choose("text", look.longest_first(frame, names), test, frame, fix)
    label = _choose("label", labels, test, frame)
    for column in (text, label):
        _check_filled(frame, column, test)
    return Texts(str(test), text, label, dialect)


def _choose(what: str, candidates: list[str], path: Path, frame: pl.DataFrame, fix: str | None = None) -> str:
    """The one candidate, or the answer of a person at a terminal: the first of several unless they name another."""
    if len(candidates) == 1:
        return candidates[0]
    columns = look.show_columns(frame)
    if not sys.stdin.isatty():
        fix = fix or f"Name it with --{what} {shlex.quote(candidates[0]) if candidates else 'COLUMN'}"
        raise MukiError(f"which column is the {what}? There are {columns}", where=str(path), fix=fix)

    def known(answer: str) -> str:
        if answer not in frame.columns:
            raise typer.BadParameter(f"There is no column {answer!r}: {choice(answer, frame.columns)}")
        return answer

    default = candidates[0] if candidates else None
    question = f"{path}: which column is the {what}? {columns}"
    answer: str = typer.prompt(question, default=default, value_proc=known, err=True)
    return answer
