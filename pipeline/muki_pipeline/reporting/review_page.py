"""A review in the browser: one page that shows texts, takes answers, tells what they say and saves them as a CSV file.

The texts lie in the page as JSON, and its script sets them as text alone, so no text is ever read as HTML.
"""

from collections.abc import Sequence

from muki_pipeline.evaluation.review import Sample
from muki_pipeline.reporting.pages import TEMPLATES, as_json
from muki_pipeline.routing.accuracy import FEWEST, WIDTH, log_odds, typical
from muki_pipeline.routing.answers import RANDOM, none_answer

_PAGE = TEMPLATES.get_template("review_page.jinja")


def review_page(sample: Sample) -> str:
    """The page of a sample."""
    table, labels = sample.table, sample.label_space.labels
    odds: Sequence[float | None] = (
        [None] * len(table) if sample.certainty is None else log_odds(sample.certainty[sample.rows]).tolist()
    )
    content = {
        "key": f"muki-pipeline review {sample.digest}",
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
                "answer": row["answer"],
                "odds": odds[number],
                "offers": [{"label": label, "by": who} for label, who in sample.offers(number).items()],
                "cells": ["" if value is None else str(value) for value in list(row.values())[:-1]],
            }
            for number, row in enumerate(table.iter_rows(named=True))
        ],
    }
    return _PAGE.render(count=len(table), content=as_json(content))
