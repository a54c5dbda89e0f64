"""Command `inspect`: what is in the store, or one text with all that is known of it."""

import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from muki_pipeline import config
from muki_pipeline.reporting.inspect import inspect_store, inspect_text
from muki_stages.options import PARAMS, ParamsFile
from muki_stages.terminal import plain, show, wants_json

LABELS_SHOWN = 5


def main(
    params_file: ParamsFile = PARAMS,
    text_id: Annotated[str | None, typer.Option("--id", help="Show one text and every teacher's answer to it.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Answer in JSON, for machines.")] = False,
) -> None:
    """Show what is in the store, or one text with its labels, target and weight."""
    params, layout = config.load(params_file)
    content = inspect_store(params, layout) if text_id is None else inspect_text(params, layout, text_id)
    if as_json or wants_json():
        print(json.dumps(content, indent=2))
    elif text_id is None:
        _show_store(content)
    else:
        _show_text(content)


def _show_store(content: dict[str, Any]) -> None:
    table = Table(title=f"Corpus: {content['corpus']['rows']:,} texts in {content['corpus']['shards']} shards")
    for heading in ("teacher", "texts", "shards", "labels", "passes", "digest", "entropy", "MI", "cut"):
        table.add_column(heading, justify="left" if heading == "teacher" else "right")
    for name, teacher in content["teachers"].items():
        if teacher is None:
            table.add_row(name, "not labelled yet")
            continue
        table.add_row(
            name,
            f"{teacher['rows']:,}",
            str(teacher["shards"]),
            str(len(teacher["labels"])),
            str(teacher.get("passes", "a file")),
            teacher["teacher_digest"][:8],
            f"{teacher['mean_entropy']:.4f}",
            _number(teacher["mean_mutual_information"]),
            f"{teacher['truncated']:,}",
        )
    table.caption = "entropy of the average and mutual information (MI): means, in nats; cut: truncated texts"
    show(table)
    console = Console()
    golden = content["golden"]
    console.print(
        "Golden supervision: none yet"
        if golden is None
        else f"Golden supervision: {golden['rows']:,} texts, {len(golden['labels'])} labels, "
        f"corpus {golden['corpus_digest'][:12]}"
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _show_text(content: dict[str, Any]) -> None:
    console = Console()
    console.print(plain(content["text"]))
    table = Table(title=content["id"])
    for heading in ("teacher", "MC entropy", "MI", "tokens", "most likely labels (average of the passes)"):
        table.add_column(heading)
    for name, labels in content["teachers"].items():
        table.add_row(
            name,
            f"{labels['entropy']:.4f}",
            _number(labels["mutual_information"]),
            "" if labels["tokens"] is None else f"{labels['tokens']}{' (cut)' if labels['truncated'] else ''}",
            plain(_top(labels["probs"])),
        )
    show(table)
    golden = content["golden"]
    if golden is None:
        console.print("Golden supervision: none yet")
        return
    console.print(plain(f"golden target: {_top(golden['target'])}"))
    scores = ", ".join(f"{name} {score:.4f}" for name, score in golden["scores"].items())
    console.print(
        f"best teacher {golden['teacher']}, margin {golden['margin']:.4f}, weight {golden['weight']:.4f} ({scores})"
    )


def _top(probs: dict[str, float]) -> str:
    best = sorted(probs.items(), key=lambda item: -item[1])[:LABELS_SHOWN]
    return ", ".join(f"{label} {p:.3f}" for label, p in best)
