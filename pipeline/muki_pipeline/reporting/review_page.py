"""A review in the browser: one page that shows texts, takes answers, tells what they say and saves them as a CSV file.

The texts lie in the page as JSON, and its script sets them as text alone, so no text is ever read as HTML.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from jinja2 import Environment, PackageLoader, StrictUndefined

from muki_pipeline.evaluation.review import Sample
from muki_pipeline.routing.accuracy import FEWEST, WIDTH, log_odds, typical
from muki_pipeline.routing.answers import RANDOM, none_answer

_PAGE = Environment(
    loader=PackageLoader("muki_pipeline.reporting", ""), autoescape=True, undefined=StrictUndefined
).get_template("review_page.jinja")


def review_page(sample: Sample) -> str:
    """The page of a sample."""
    table, labels = sample.table, sample.label_space.labels
    odds: Sequence[float | None] = (
        [None] * len(table) if sample.certainty is None else log_odds(sample.certainty[sample.rows]).tolist()
    )
    content = {
        "key": f"muki-pipeline review {_digest(table)}",
        "labels": list(labels),
        "none": none_answer(sample.label_space),
        "width": WIDTH,
        "fewest": FEWEST,
        "corpus": sample.corpus_rows,
        "typical": None if sample.certainty is None else typical(sample.certainty).tolist(),
        "knows": {
            name: [labels[column] for column in columns]
            for name, columns in zip(sample.answers, sample.label_space.columns, strict=True)
        },
        "columns": table.columns,
        "texts": [
            {
                "id": row["id"],
                "text": row["text"],
                "chosen": row["chosen"],
                "random": row["drawn"] == RANDOM,
                "odds": odds[number],
                "offers": _offers(sample.answers, number),
                "cells": ["" if value is None else str(value) for value in list(row.values())[:-1]],
            }
            for number, row in enumerate(table.iter_rows(named=True))
        ],
    }
    # No text can end the script element, or begin a comment in it.
    inline = json.dumps(content, ensure_ascii=False).replace("<", "\\u003c")
    return _PAGE.render(count=len(table), content=inline)


def _offers(answers: Mapping[str, pl.DataFrame], row: int) -> list[dict[str, Any]]:
    """The labels that teachers give a text, the surest first, each with who gives it; nobody sees who was chosen."""
    found: dict[str, list[tuple[float, str]]] = {}
    for name, given in answers.items():
        _, united, probability = given.row(row)
        if united is None:  # it has no answer
            continue
        found.setdefault(united, []).append((probability, name))
    surest = sorted(found, key=lambda label: -max(found[label])[0])
    return [
        {"label": label, "by": ", ".join(f"{name} {probability:.2f}" for probability, name in found[label])}
        for label in surest
    ]


def _digest(table: pl.DataFrame) -> str:
    return hashlib.sha256(table.write_csv().encode()).hexdigest()[:16]
