"""Command `review`: a sample for a person to check, and what the answers say."""

from pathlib import Path
from typing import Annotated

import typer

from muki_pipeline import config
from muki_pipeline.errors import MukiError
from muki_pipeline.evaluation.review import read_review, sample_review
from muki_pipeline.reporting.review_page import review_page
from muki_pipeline.routing.accuracy import FEWEST, WIDTH
from muki_pipeline.routing.answers import none_answer, reference
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
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
) -> None:
    """Write texts for a person to check, or read the answers: how often is the right teacher chosen?"""
    params, layout = config.load(params_file)
    if answers is None:
        target = layout.review_page if html else layout.review
        if files.exists(target) and not force:
            raise MukiError("is there already", where=str(target), fix="Move it, or overwrite it with --force")
        sample = sample_review(params, layout, texts)
        files.write_bytes(target, review_page(sample).encode() if html else spreadsheet_csv(sample.table))
        how = (
            "Open it in a browser, and save the answers"
            if html
            else f"Write each text's label, or {none_answer(sample.label_space)}, into the column answer"
        )
        say(f"{target}: {len(sample.table):,} texts. {how}, then run muki-pipeline review --read FILE")
        return
    result = read_review(params, layout, answers)
    say(f"{result.answered:,} of {result.rows:,} texts answered")
    if result.unknown:
        say(f"no teacher knows the label of {result.unknown:,} of {result.judged + result.unknown:,} random texts")
    if (foreign := result.unknown_share) is not None:
        say(f"that is {foreign.share:.3f} of the corpus (95 % interval {foreign.low:.3f} to {foreign.high:.3f})")
        say(f"integrate.unknown_share: {foreign.share:.2f} makes so many texts, the least familiar ones, teach nothing")
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
    if params.integrate.scorer == "gate":
        named = reference(answers, layout.root)
        say(f"to use the answers, set integrate.answers: {named} in {params_file} and integrate again")
