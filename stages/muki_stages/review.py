"""Command `review`: a sample for a person to check, and what the answers say."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from muki_pipeline import config
from muki_pipeline.config import MOST_UNKNOWN, Params
from muki_pipeline.errors import MukiError, chosen
from muki_pipeline.evaluation.review import Sample, read_review, sample_review
from muki_pipeline.layout import Layout
from muki_pipeline.reporting.review_page import review_page
from muki_pipeline.routing.accuracy import FEWEST, WIDTH
from muki_pipeline.routing.annotation_tools.exports import TOOLS
from muki_pipeline.routing.answers import none_answer, reference, unsure_answer
from muki_pipeline.store import files
from muki_pipeline.store.columns import spreadsheet_csv
from muki_stages.options import PARAMS, ParamsFile
from muki_stages.terminal import say


def main(
    params_file: ParamsFile = PARAMS,
    texts: Annotated[int, typer.Option("--texts", min=2, help="How many texts to ask about.")] = 100,
    answers: Annotated[Path | None, typer.Option("--read", help="Read the answers in this file.")] = None,
    html: Annotated[
        bool, typer.Option("--html", help="Write a page to answer in a browser, instead of a CSV file.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite existing files.")] = False,
    tool: Annotated[
        str | None, typer.Option("--export", help=f"Write files for an annotation tool, instead: {', '.join(TOOLS)}.")
    ] = None,
    keep: Annotated[
        Path | None, typer.Option("--keep", help="Begin with the answers in this file, those to a smaller sample.")
    ] = None,
) -> None:
    """Write texts for a person to check, or read the answers: how often is the right teacher chosen?"""
    params, layout = config.load(params_file)
    if tool:
        chosen(tool, TOOLS, "annotation tool", "--export")
    if keep is not None and tool:
        raise MukiError("annotation tools are given no answers", where="--keep", fix="Write a CSV file or a page")
    if answers is None:
        forms = ["html"] * html + ([tool] if tool else [])
        _ask(params, layout, texts, forms or ["csv"], keep, force=force)
    elif html or tool or keep is not None:
        raise MukiError("--html, --export and --keep write texts", where="--read", fix="Read the answers by itself")
    else:
        _tell(params, layout, answers, params_file)


def _ask(params: Params, layout: Layout, texts: int, forms: Sequence[str], keep: Path | None, *, force: bool) -> None:
    """Write one sample in some forms: `csv`, `html`, or for an annotation tool.

    Raises:
        MukiError: A file is there already; see `sample_review`.
    """
    targets = {form: _target(layout, form) for form in forms}
    for target in targets.values():
        is_kept = keep is not None and target.resolve() == keep.resolve()  # all its answers are in the new one
        if files.exists(target) and not force and not is_kept:
            raise MukiError("is there already", where=str(target), fix="Move it, or overwrite it with --force")
    sample = sample_review(params, layout, texts, keep)
    if keep is not None:
        say(f"{(sample.table['answer'] != '').sum():,} answers from {keep}")
    for form, target in targets.items():
        how = _write(sample, form, target)
        say(f"{target}: {len(sample.table):,} texts. {how}, then run muki-pipeline review --read FILE")


def _target(layout: Layout, form: str) -> Path:
    if form in ("csv", "html"):
        return layout.review if form == "csv" else layout.review_page
    return layout.review_export(form)


def _write(sample: Sample, form: str, target: Path) -> str:
    """Write a sample in a form; returns what a person does with it."""
    none = none_answer(sample.label_space)
    if form == "csv":
        files.write_bytes(target, spreadsheet_csv(sample.table))
        return f"Write each text's label, or {none}, into the column answer"
    if form == "html":
        files.write_bytes(target, review_page(sample).encode())
        return "Open it in a browser, and save the answers"
    choices = [*sample.label_space.labels, none, unsure_answer(sample.label_space)]
    for name, content in TOOLS[form].files(sample.questions(), choices).items():
        files.write_bytes(target / name, content.encode())
    return TOOLS[form].HOW


def _tell(params: Params, layout: Layout, answers: Path, params_file: Path) -> None:
    """What the answers in a file say."""
    result = read_review(params, layout, answers)
    say(f"{result.answered:,} of {result.rows:,} texts answered")
    if result.unknown:
        say(f"no teacher knows the label of {result.unknown:,} of {result.judged + result.unknown:,} random texts")
    if (foreign := result.unknown_share) is not None:
        say(f"that is {foreign.share:.3f} of the corpus (95 % interval {foreign.low:.3f} to {foreign.high:.3f})")
        share = min(foreign.share, MOST_UNKNOWN)
        say(f"integrate.unknown_share: {share:.2f} makes so many texts, the least familiar ones, teach nothing")
    if result.right is None:
        known = "known labels of random texts"
        say(f"how often the right teacher is chosen is told from {FEWEST} {known} on: {result.missing:,} more")
    else:
        interval = f"95 % interval {result.right.low:.3f} to {result.right.high:.3f}"
        say(
            f"right teacher: {result.right.share:.3f} of the texts whose label a teacher knows ({interval}), by "
            f"{result.judged:,} random texts"
        )
        enough = f"that is enough: the interval is ±{WIDTH} or less" if result.left else "every text is answered"
        say(f"about {result.missing:,} more answers would make that interval ±{WIDTH}" if result.missing else enough)
    wanted = result.answered + result.missing
    if wanted > result.rows:
        more = f"muki-pipeline review --texts {wanted} --keep {shlex.quote(str(answers))}"
        say(f"{more} asks about so many more; add --html for a page")
    if params.integrate.scorer == "gate":
        named = reference(answers, layout.root)
        say(f"to use the answers, set integrate.answers: {named} in {params_file} and integrate again")
