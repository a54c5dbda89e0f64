"""Command `init`: params.yaml and dvc.yaml from models and texts that are there."""

import sys
from pathlib import Path

import typer

from pipeline.corpus.readers import read_table
from pipeline.errors import MukiError
from pipeline.setup import look
from pipeline.setup.settings import Texts, render, student_model, write_project
from stages.terminal import quiet_libraries, say


def main(
    models: list[str],
    texts: Path,
    text: str | None,
    test: Path | None,
    label: str | None,
    student: str | None,
    labels: list[str],
    force: bool,
) -> None:
    """Run the command."""
    quiet_libraries()
    root = Path.cwd()
    names = look.teacher_names(models)
    given = dict(_given_labels(each, names) for each in labels)
    teachers = [
        look.find_teacher(name, model, root, given.get(name)) for name, model in zip(names, models, strict=True)
    ]
    union = [label for teacher in teachers for label in teacher.files.labels]
    corpus = _texts(texts, text, None, union, needs_label=False)
    held_out = None if test is None else _texts(test, text or corpus.text, label, union, needs_label=True)
    max_length = look.fitting_length(teachers, look.sample(read_table(texts)[corpus.text]))
    pairs = look.pairs_of_labels({each.files.name: each.files.labels for each in teachers})
    content = render(corpus, held_out, teachers, max_length, student_model(student), pairs)
    for path in write_project(root, content, has_test=held_out is not None, force=force):
        say(f"wrote {path}")
    for each in teachers:
        reads = "reads texts of any length" if each.longest is None else f"reads up to {each.longest} tokens"
        say(f"teacher {each.files.name}: {len(each.files.labels)} labels, {reads}")
    for pair in pairs:
        (one, other), (mine, theirs) = pair.teachers, pair.labels
        what = "both know it, so it becomes one label" if pair.is_shared else "if they mean the same, use aliases"
        say(f"label {mine!r} of {one} and {theirs!r} of {other}: {what}")
    say("next: muki-pipeline doctor, then muki-pipeline run")


def _given_labels(option: str, names: list[str]) -> tuple[str, list[str]]:
    name, _, labels = option.partition("=")
    if name not in names or not labels:
        raise MukiError(
            "is not TEACHER=LABEL,LABEL", where=f"--labels {option}", fix=f"Teachers are {', '.join(names)}"
        )
    return name, [label.strip() for label in labels.split(",")]


def _texts(path: Path, text: str | None, label: str | None, union: list[str], *, needs_label: bool) -> Texts:
    frame = read_table(path)
    if text is not None and text not in frame.columns:
        raise MukiError(f"no column {text!r}, only {look.show_columns(frame)}", where=str(path), fix="Name one")
    column = text or _choose("text", look.text_columns(frame), path, look.show_columns(frame))
    if not needs_label:
        return Texts(str(path), column)
    candidates = [label] if label else look.label_columns(frame.drop(column), union)
    return Texts(str(path), column, _choose("label", candidates, path, look.show_columns(frame)))


def _choose(what: str, candidates: list[str], path: Path, columns: str) -> str:
    """The one candidate, or the answer of a person at a terminal."""
    if len(candidates) == 1:
        return candidates[0]
    if not sys.stdin.isatty():
        raise MukiError(
            f"which column is the {what}? There are {columns}", where=str(path), fix=f"Name it with --{what} COLUMN"
        )
    answer: str = typer.prompt(f"{path}: which column is the {what}? {columns}", err=True)
    return answer
