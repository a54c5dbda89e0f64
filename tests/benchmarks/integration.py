"""Stage two: rows a second and memory of `integrate`, on label shards made for it."""

import os
import statistics
import time
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import yaml

from pipeline import config
from pipeline.integration.confidence import softmax
from pipeline.integration.integrate import integrate
from pipeline.tables.columns import fixed_size_lists
from pipeline.tables.keys import canonical_key
from pipeline.tables.manifest import seal
from pipeline.tables.schema import EMBEDDINGS_VERSION, LABELS_VERSION
from pipeline.tables.shards import Shard, part_name, write_shard
from tests.benchmarks.measure import Row, in_a_process

TEACHERS, LABELS, SHARD = ["a", "b", "c"], 8, 50_000
SIZE = 384  # of an embedding, as MiniLM's
PAPERS = {"strategy": "soft", "scorer": "mc_entropy"}


def unit_vectors(drawn: np.random.Generator, rows: int) -> pa.Array:
    """Random embeddings of length 1."""
    vectors = drawn.normal(size=(rows, SIZE)).astype(np.float32)
    return fixed_size_lists(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def write_project(root: Path, rows: int) -> None:
    """A corpus of 100-byte texts with the labels of three teachers of eight labels."""
    drawn = np.random.default_rng(0)
    content = {
        "prepare": {"corpus": {"source": "none.csv", "text": "text"}},
        "teachers": {name: {"model": name, "watch": name} for name in TEACHERS},
        "integrate": PAPERS,
        "student": {"model": "none"},
    }
    root.mkdir(parents=True)
    (root / "params.yaml").write_text(yaml.safe_dump(content))
    params, layout = config.load(root / "params.yaml")
    words = np.array([f"word{number:04d}" for number in range(2000)])
    shards: list[Shard] = []
    parts: dict[str, list[Shard]] = {name: [] for name in TEACHERS}
    embedded: list[Shard] = []
    encoder = {"schema": EMBEDDINGS_VERSION, "settings": params.embed.model_dump(), "encoder_digest": "bench"}
    for number in range(-(-rows // SHARD)):
        count = min(SHARD, rows - number * SHARD)
        ids = pa.array([f"{number:08x}{row:024x}" for row in range(count)])
        texts = pa.array([" ".join(chosen) for chosen in words[drawn.integers(0, 2000, (count, 11))]])
        file, key = part_name(number), f"shard {number}"
        shards.append(write_shard(layout.corpus / file, pa.table({"id": ids, "text": texts}), key))
        vectors = {"id": ids, "embedding": unit_vectors(drawn, count)}
        digest = {"corpus_digest": key}
        embedded.append(write_shard(layout.embeddings / file, pa.table(vectors), key, digest))
        for name in TEACHERS:
            logits = drawn.normal(size=(count, LABELS)).astype(np.float32) * 3
            columns = {
                "id": ids,
                "probs": fixed_size_lists(softmax(logits).astype(np.float32)),
                "logits": fixed_size_lists(logits),
                "entropy": pa.array(drawn.random(count, dtype=np.float32) * 2),
                "expected_entropy": pa.array(drawn.random(count, dtype=np.float32)),
                "tokens": pa.array(np.full(count, 20, dtype=np.int32)),
                "truncated": pa.array(np.zeros(count, dtype=bool)),
            }
            facts = {
                "schema": LABELS_VERSION,
                "teacher": name,
                "labels": [f"{name}{label}" for label in range(LABELS)],
                "teacher_digest": name,
                "corpus_digest": key,
                "dropout_override": None,
                **params.label.model_dump(exclude={"token_budget", "device", "features"}),
            }
            written = write_shard(layout.labels(name) / file, pa.table(columns), canonical_key(facts), facts)
            parts[name].append(written)
    seal(layout.corpus, shards)
    seal(layout.embeddings, embedded, encoder)
    labels = [f"{name}{label}" for name in TEACHERS for label in range(LABELS)]
    named = pa.table({"label": labels, "embedding": unit_vectors(drawn, len(labels))})
    seal(layout.label_names, [write_shard(layout.label_names / part_name(0), named, "names")], encoder)
    for name in TEACHERS:
        seal(layout.labels(name), parts[name], {"teacher": name})
    os.sync()  # else the disk is still busy with it when something is measured


def run_integrate(root: str, scorer: str) -> None:
    """Run in a process of its own."""
    params, layout = config.load(Path(root) / "params.yaml")
    if scorer == "gate":
        settings = params.integrate.model_copy(update={"strategy": "posterior", "scorer": "gate"})
        params = params.model_copy(update={"integrate": settings})
    integrate(params, layout, layout.golden)


def naive(root: str) -> None:
    """The whole corpus in one polars frame: join by id, weigh, write; unchecked."""
    data = Path(root) / "data"
    frame = pl.read_parquet(data / "corpus" / "*.parquet")
    for name in TEACHERS:
        labels = pl.read_parquet(data / "labels" / name / "*.parquet").select("id", "logits", "entropy")
        frame = frame.join(labels.rename({"logits": f"logits {name}", "entropy": f"entropy {name}"}), on="id")
    scores = np.stack([1 - frame[f"entropy {name}"].to_numpy() / np.log(LABELS) for name in TEACHERS], axis=1)
    weights = softmax(scores, 0.2)
    parts = [weights[:, [at]] * softmax(frame[f"logits {name}"].to_numpy()) for at, name in enumerate(TEACHERS)]
    two = np.sort(scores, axis=1)[:, -2:]
    margin = two[:, 1] - two[:, 0]
    target = pl.Series("target", np.concatenate(parts, axis=1).astype(np.float32))
    frame.select("id", "text").with_columns(target, weight=margin / margin.mean()).write_parquet(data / "naive.parquet")


def rows(folder: Path, many: bool) -> list[Row]:
    """One million rows and, where there is time and disk, ten."""
    write_project(folder / "few", 1_000_000)
    own = [in_a_process(run_integrate, str(folder / "few"), "mc_entropy") for _ in range(5)]
    seconds, peak = (statistics.median(run.seconds for run in own), statistics.median(run.peak for run in own))
    joined = in_a_process(naive, str(folder / "few"))
    gated = in_a_process(run_integrate, str(folder / "few"), "gate")
    table = [
        Row("integrate: rows a second, 3 teachers x 8 labels", 500_000, 1_000_000 / seconds),
        Row("integrate with the gate: rows a second", None, 1_000_000 / gated.seconds),
        Row("one naive polars frame / integrate, seconds", None, joined.seconds / seconds),
        Row("one naive polars frame / integrate, peak memory", None, joined.peak / peak),
    ]
    if many:
        start = time.perf_counter()
        write_project(folder / "many", 10_000_000)
        print(f"10,000,000 rows written in {time.perf_counter() - start:.0f} s")
        most = in_a_process(run_integrate, str(folder / "many"), "mc_entropy")
        table += [
            Row("integrate: rows a second, 10,000,000 rows", 500_000, 10_000_000 / most.seconds),
            Row("integrate: peak memory of 10,000,000 rows / of 1,000,000", 1.25, most.peak / peak, at_most=True),
        ]
    return table
