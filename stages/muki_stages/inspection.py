"""Command `inspect`: what is in the store, or one text with all that is known of it."""

import json
from typing import Annotated, Any

import typer
from rich.text import Text

from muki_pipeline import config
from muki_pipeline.reporting.inspect import inspect_store, inspect_text
from muki_stages.options import PARAMS, ParamsFile
from muki_stages.terminal import FIRST, LEVELS, figure, plain, show, tell, wants_json

LABELS_SHOWN = 5
NO_GOLDEN = Text("Golden supervision: none yet", LEVELS["warning"])


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
    corpus, golden = content["corpus"], content["golden"]
    show(
        f"Corpus: {corpus['rows']:,} texts in {corpus['shards']} shards",
        ["teacher", "texts", "shards", "labels", "passes", "digest", "entropy", "MI", "cut"],
        [_teacher_cells(name, teacher) for name, teacher in content["teachers"].items()],
        note="entropy of the average and mutual information (MI): means, in nats; cut: truncated texts",
    )
    tell(
        NO_GOLDEN
        if golden is None
        else Text(
            f"Golden supervision: {golden['rows']:,} texts, {len(golden['labels'])} labels, "
            f"corpus {golden['corpus_digest'][:12]}"
        )
    )


def _teacher_cells(name: str, teacher: dict[str, Any] | None) -> list[str | Text]:
    if teacher is None:
        return [name, Text("not labelled yet", LEVELS["warning"])]
    return [
        name,
        f"{teacher['rows']:,}",
        str(teacher["shards"]),
        str(len(teacher["labels"])),
        str(teacher.get("passes", "a file")),
        teacher["teacher_digest"][:8],
        figure(teacher["mean_entropy"]),
        figure(teacher["mean_mutual_information"]),
        f"{teacher['truncated']:,}",
    ]


def _show_text(content: dict[str, Any]) -> None:
    tell(plain(content["text"]).append("\n"))
    answers = "most likely labels (average of the passes)"
    rows = [
        [
            name,
            figure(labels["entropy"]),
            figure(labels["mutual_information"]),
            "" if labels["tokens"] is None else f"{labels['tokens']}{' (cut)' if labels['truncated'] else ''}",
            "no answer" if labels["answers"] == 0 else _top(labels["probs"]),
        ]
        for name, labels in content["teachers"].items()
    ]
    show(f"Text {content['id']}", ["teacher", "MC entropy", "MI", "tokens", answers], rows, words=[answers])
    golden = content["golden"]
    if golden is None:
        tell(NO_GOLDEN)
        return
    tell(plain(f"golden target: {_top(golden['target'])}"))
    scores = ", ".join(f"{name} {figure(score)}" for name, score in golden["scores"].items())
    best = Text.assemble("best teacher ", (golden["teacher"], FIRST))
    tell(best.append(f", margin {figure(golden['margin'])}, weight {figure(golden['weight'])} ({scores})"))


def _top(probs: dict[str, float]) -> str:
    best = sorted(probs.items(), key=lambda item: -item[1])[:LABELS_SHOWN]
    return ", ".join(f"{label} {figure(p)}" for label, p in best)
