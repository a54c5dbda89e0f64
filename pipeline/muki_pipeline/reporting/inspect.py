"""What is in the store, and everything it holds about one text."""

from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from muki_pipeline.config import Params
from muki_pipeline.corpus.ids import place_of
from muki_pipeline.corpus.table import corpus_digest, corpus_shards, read_corpus_shard
from muki_pipeline.errors import MukiError
from muki_pipeline.layout import MAKE_CORPUS, MAKE_GOLDEN, Layout, make_labels, open_golden
from muki_pipeline.store.table import Table, is_finished


def inspect_store(params: Params, layout: Layout) -> dict[str, Any]:
    """Corpus, label tables of the teachers that params.yaml lists, and golden table; None for what is not there yet.

    Raises:
        MukiError: There is no corpus, or a table is damaged.
    """
    shards = corpus_shards(layout.corpus)
    return {
        "corpus": {
            "rows": sum(shard.rows for shard in shards),
            "shards": len(shards),
            "digest": corpus_digest(shards),
        },
        "teachers": {name: _teacher(name, layout) for name in params.teachers},
        "golden": open_golden(layout.golden).facts if is_finished(layout.golden) else None,
    }


def _teacher(name: str, layout: Layout) -> dict[str, Any] | None:
    if not is_finished(layout.labels(name)):
        return None
    table = Table.open(layout.labels(name), make_labels(name))
    means = table.frame(["entropy", "expected_entropy", "tokens", "truncated"]).select(
        mean_entropy=pl.col("entropy").cast(pl.Float64).mean(),
        mean_mutual_information=(pl.col("entropy") - pl.col("expected_entropy")).cast(pl.Float64).mean(),
        tokens=pl.col("tokens").cast(pl.Int64).sum(),
        truncated=pl.col("truncated").sum(),
    )
    return {
        "shards": len(table.shards),
        "rows": table.rows,
        **means.row(0, named=True),
        **table.shards[0].footer(),
    }


def inspect_text(params: Params, layout: Layout, text_id: str) -> dict[str, Any]:
    """One text with every teacher's labels, its golden target and its weight.

    Raises:
        MukiError: The corpus has no such id, a table is damaged, or the golden table is of other labels.
    """
    number = place_of(layout, text_id)
    row = _row(read_corpus_shard(Table.open(layout.corpus, MAKE_CORPUS).shards[number]), text_id)
    if row is None:
        raise MukiError("has no such text any more", where=str(layout.corpus), fix=MAKE_CORPUS)
    labels = {
        name: _labels(name, number, text_id, layout) for name in params.teachers if is_finished(layout.labels(name))
    }
    return {
        "id": text_id,
        "text": row["text"],
        "teachers": labels,
        "golden": _target(number, text_id, layout) if is_finished(layout.golden) else None,
    }


def _row(table: pa.Table, text_id: str) -> dict[str, Any] | None:
    rows: list[dict[str, Any]] = table.filter(pc.equal(table["id"], text_id)).to_pylist()
    return rows[0] if rows else None


def _known_row(folder: Path, number: int, text_id: str, fix: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A text's row in a table of the corpus's shards, and the shard's metadata."""
    shards = Table.open(folder, fix).shards
    row = _row(shards[number].read(), text_id) if number < len(shards) else None
    if row is None:
        raise MukiError(f"the text {text_id} of the corpus is not in it", where=str(folder), fix=fix)
    return row, shards[number].footer()


def _labels(name: str, number: int, text_id: str, layout: Layout) -> dict[str, Any]:
    row, facts = _known_row(layout.labels(name), number, text_id, make_labels(name))
    return {
        "probs": dict(zip(facts["labels"], row["probs"], strict=True)),
        "logits": dict(zip(facts["labels"], row["logits"], strict=True)),
        "entropy": row["entropy"],
        "mutual_information": None
        if row["expected_entropy"] is None
        else max(row["entropy"] - row["expected_entropy"], 0.0),
        "answers": row.get("answers"),
        "tokens": row["tokens"],
        "truncated": row["truncated"],
    }


def _target(number: int, text_id: str, layout: Layout) -> dict[str, Any]:
    row, facts = _known_row(layout.golden, number, text_id, MAKE_GOLDEN)
    for name, key in facts["label_keys"].items():
        folder = layout.labels(name)
        keys = [shard.key for shard in Table.open(folder, "").shards] if is_finished(folder) else []
        if keys and keys[number : number + 1] != [key]:
            raise MukiError(f"is of other labels of teacher {name}", where=str(layout.golden), fix=MAKE_GOLDEN)
    teachers = open_golden(layout.golden).facts["teachers"]  # a footer has its keys in the order of the alphabet
    return {
        "target": dict(zip(facts["labels"], row["target"], strict=True)),
        "weight": row["weight"],
        "teacher": row["teacher"],
        "margin": row["margin"],
        "scores": dict(zip(teachers, row["scores"], strict=True)),
    }
