"""Stored answers as teachers: of a scikit-learn pipeline, of an ONNX model, of an LLM.

A teacher need not be a network: it may be a file of answers, of whatever classifier you have. In Python:

    of_scikit_learn(pipeline, texts).write_csv("weather.csv")
    of_onnx(Path("onnx"), texts).write_parquet("trees.parquet")

Of an LLM, once the function `ask` calls it, for the column `text` of a CSV file:

    python examples/answers.py texts.csv answers.jsonl
    muki-pipeline init models/sales answers.jsonl --texts texts.csv

Of another student of this program, `muki-pipeline predict texts.csv --all` writes such a file.
"""

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl

SAMPLES = 8
"""Times that an LLM is asked about a text. Where its answers differ, it is uncertain: they serve as dropout passes."""


def of_scikit_learn(pipeline: Any, texts: list[str]) -> pl.DataFrame:
    """Probabilities of a fitted scikit-learn pipeline, a column for each label."""
    columns = dict(zip(map(str, pipeline.classes_), pipeline.predict_proba(texts).T, strict=True))
    return pl.DataFrame({"text": texts, **columns})


def of_onnx(folder: Path, texts: list[str]) -> pl.DataFrame:
    """Probabilities of an ONNX classifier beside its tokenizer, as `muki-pipeline export --onnx` writes them."""
    from serve import Classifier

    classifier = Classifier.load(folder)
    return pl.DataFrame({"text": texts, **dict(zip(classifier.labels, classifier.probabilities(texts).T, strict=True))})


def of_llm(
    ask: Callable[[str], str], texts: list[str], answered: Counter[str], samples: int = SAMPLES
) -> Iterator[dict[str, str]]:
    """Several labels of each text, a row for each, as an LLM with a temperature above 0 gives them.

    `answered` counts the rows that each text has already.
    """
    for text in dict.fromkeys(texts):
        for _ in range(samples - answered[text]):
            yield {"text": text, "label": ask(text)}


def ask(text: str) -> str:
    """Put a call of your LLM here: it must answer with the name of a label alone."""
    raise NotImplementedError(f"call your LLM here, about {text!r}")


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:])
    texts = pl.read_csv(source)["text"].to_list()
    rows = target.read_text().splitlines() if target.exists() else []
    answered = Counter(json.loads(row)["text"] for row in rows)  # what is answered is paid for: a second run goes on
    for row in of_llm(ask, texts, answered):
        with target.open("a") as file:
            print(json.dumps(row), file=file)
    print(pl.read_ndjson(target)["label"].value_counts(sort=True))
