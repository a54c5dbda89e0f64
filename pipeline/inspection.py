"""What is in the store, and what it says of one text."""

from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import corpus, store
from pipeline.config import Params
from pipeline.errors import MukiError
from pipeline.layout import MAKE_GOLDEN, Layout, make_labels


def inspect_store(params: Params, layout: Layout) -> dict[str, Any]:
    """Corpus, label tables of the teachers that params.yaml lists, and golden table; None for what is not there yet.

    Raises:
        MukiError: There is no corpus, or a table is damaged.
    """
    shards = corpus.corpus_shards(layout.corpus)
    return {
        "corpus": {
            "rows": sum(shard.rows for shard in shards),
            "shards": len(shards),
            "digest": corpus.digest(shards),
        },
        "teachers": {name: _teacher(name, layout) for name in params.teachers},
        "golden": store.manifest(layout.golden, MAKE_GOLDEN)[1] if _finished(layout.golden) else None,
    }


def _finished(folder: Path) -> bool:
    return (folder / store.MANIFEST).exists()


def _teacher(name: str, layout: Layout) -> dict[str, Any] | None:
    folder = layout.labels(name)
    if not _finished(folder):
        return None
    shards, _ = store.manifest(folder, make_labels(name))
    columns = ["entropy", "expected_entropy", "tokens", "truncated"]
    frame = pl.DataFrame(
        pl.from_arrow(
            pa.concat_tables([store.read_shard(folder, shard, make_labels(name), columns) for shard in shards])
        )
    )
    means = frame.select(
        mean_entropy=pl.col("entropy").cast(pl.Float64).mean(),
        mean_mutual_information=(pl.col("entropy") - pl.col("expected_entropy")).cast(pl.Float64).mean(),
        tokens=pl.col("tokens").cast(pl.Int64).sum(),
        truncated=pl.col("truncated").sum(),
    )
    facts = store.footer(folder / shards[0].file, make_labels(name))
    return {"shards": len(shards), "rows": len(frame), **means.row(0, named=True), **facts}


def inspect_text(params: Params, layout: Layout, text_id: str) -> dict[str, Any]:
    """One text: what every teacher said of it, its golden target and weight.

    Raises:
        MukiError: The corpus has no such id, or a table is damaged.
    """
    shards = corpus.corpus_shards(layout.corpus)
    rows = ((number, _row(corpus.read_shard(layout.corpus, shard), text_id)) for number, shard in enumerate(shards))
    number, row = next((found for found in rows if found[1] is not None), (0, None))
    if row is None:
        raise MukiError(f"no text has the id {text_id!r}", where=str(layout.corpus), fix="Copy an id from data/corpus")
    said = {name: _said(name, number, text_id, layout) for name in params.teachers if _finished(layout.labels(name))}
    return {
        "id": text_id,
        "text": row["text"],
        "teachers": said,
        "golden": _target(number, text_id, layout) if _finished(layout.golden) else None,
    }


def _row(table: pa.Table, text_id: str) -> dict[str, Any] | None:
    rows: list[dict[str, Any]] = table.filter(pc.equal(table["id"], text_id)).to_pylist()
    return rows[0] if rows else None


def _known_row(folder: Path, number: int, text_id: str, fix: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A text's row in a table of the corpus's shards, and the shard's metadata."""
    shards, _ = store.manifest(folder, fix)
    row = _row(store.read_shard(folder, shards[number], fix), text_id) if number < len(shards) else None
    if row is None:
        raise MukiError(f"the text {text_id} of the corpus is not in it", where=str(folder), fix=fix)
    return row, store.footer(folder / shards[number].file, fix)


def _said(name: str, number: int, text_id: str, layout: Layout) -> dict[str, Any]:
    row, facts = _known_row(layout.labels(name), number, text_id, make_labels(name))
    return {
        "probs": dict(zip(facts["labels"], row["probs"], strict=True)),
        "logits": dict(zip(facts["labels"], row["logits"], strict=True)),
        "entropy": row["entropy"],
        "mutual_information": max(row["entropy"] - row["expected_entropy"], 0.0),
        "tokens": row["tokens"],
        "truncated": row["truncated"],
    }


def _target(number: int, text_id: str, layout: Layout) -> dict[str, Any]:
    row, facts = _known_row(layout.golden, number, text_id, MAKE_GOLDEN)
    return {
        "target": dict(zip(facts["labels"], row["target"], strict=True)),
        "weight": row["weight"],
        "teacher": row["teacher"],
        "margin": row["margin"],
        "scores": dict(zip(facts["teachers"], row["scores"], strict=True)),
    }
