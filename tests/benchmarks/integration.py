"""Stage two: rows a second and memory of `integrate`, on label shards made for it."""

import os
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import yaml

from muki_pipeline import config
from muki_pipeline.routing.confidence import entropy, softmax
from muki_pipeline.store.columns import fixed_size_lists
from muki_pipeline.store.folder import FolderStore
from muki_pipeline.store.keys import canonical_key
from muki_pipeline.store.schema import EMBEDDINGS_VERSION, LABEL_NAMES_VERSION, LABELS_VERSION
from muki_pipeline.store.store import Shard
from muki_pipeline.store.table import part_name, seal
from muki_pipeline.supervision.integrate import integrate
from tests.benchmarks.measure import Row, in_a_process

TEACHERS, LABELS, SHARD = ["a", "b", "c"], 8, 50_000
SIZE = 384  # of an embedding, as MiniLM's
PAPERS = {"strategy": "soft", "scorer": "mc_entropy"}


def unit_vectors(vectors: np.ndarray) -> np.ndarray:
    """Vectors scaled to length 1, float32."""
    scaled: np.ndarray = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return scaled


@dataclass(frozen=True)
class Drawn:
    """Texts that have a label: their words, embeddings and the teachers' numbers depend on it, as in a real corpus.

    Else the gate finds views that do not agree, leaves them out, and what is timed is not the gate.

    Attributes:
        texts: `[rows]`, eleven words; four in ten are the label's own.
        embeddings: `[rows, SIZE]`.
        logits: Each teacher's, `[rows, LABELS]`; sure and right where it knows the label.
        information: Each teacher's mutual information, nats, `[rows]`; small where it knows the label.
    """

    texts: pa.Array
    embeddings: np.ndarray
    logits: list[np.ndarray]
    information: list[np.ndarray]


def draw(drawn: np.random.Generator, centres: np.ndarray, rows: int) -> Drawn:
    """Some texts; `centres` are the embeddings of the labels' names, `[labels, SIZE]`."""
    gold = drawn.integers(0, len(centres), rows)
    chosen = drawn.integers(0, 2000, (rows, 11))
    own = 2000 + gold[:, None] * 50 + drawn.integers(0, 50, (rows, 11))
    words = np.array([f"word{number:04d}" for number in range(2000 + len(centres) * 50)])
    texts = words[np.where(drawn.random((rows, 11)) < 0.4, own, chosen)]
    noise = drawn.normal(size=(rows, SIZE), scale=2.0 / np.sqrt(SIZE))
    logits, information = [], []
    for number in range(len(TEACHERS)):
        values = drawn.normal(size=(rows, LABELS))
        knows = gold // LABELS == number
        answer = np.where(knows, gold % LABELS, drawn.integers(0, LABELS, rows))
        values[np.arange(rows), answer] += np.where(knows, 6.0, 3.0)
        logits.append(values.astype(np.float32))
        information.append((drawn.gamma(2.0, size=rows) * np.where(knows, 0.01, 0.03)).astype(np.float32))
    return Drawn(
        pa.array([" ".join(row) for row in texts]),
        unit_vectors(centres[gold] + noise).astype(np.float16),
        logits,
        information,
    )


def write_project(root: Path, rows: int) -> None:
    """A corpus of 100-byte texts with the labels of three teachers of eight labels."""
    drawn = np.random.default_rng(0)
    content = {
        "prepare": {"corpus": {"source": "none.csv", "text": "text"}},
        "teachers": {name: {"model": name} for name in TEACHERS},
        "integrate": PAPERS,
        "student": {"model": "none"},
    }
    root.mkdir(parents=True)
    (root / "params.yaml").write_text(yaml.safe_dump(content))
    params, layout = config.load(root / "params.yaml")
    labels = [f"{name}{label}" for name in TEACHERS for label in range(LABELS)]
    centres = unit_vectors(drawn.normal(size=(len(labels), SIZE)))
    shards: list[Shard] = []
    parts: dict[str, list[Shard]] = {name: [] for name in TEACHERS}
    embedded: list[Shard] = []
    encoder = {"schema": EMBEDDINGS_VERSION, "settings": params.embed.model_dump(), "encoder_digest": "bench"}
    encoder |= {"encoder": params.encoder[0]}
    for number in range(-(-rows // SHARD)):
        count = min(SHARD, rows - number * SHARD)
        ids = pa.array([f"{number:08x}{row:024x}" for row in range(count)])
        some = draw(drawn, centres, count)
        file, key = part_name(number), f"shard {number}"
        shards.append(FolderStore(layout.corpus).write(file, pa.table({"id": ids, "text": some.texts}), key))
        vectors = {"id": ids, "embedding": fixed_size_lists(some.embeddings)}
        digest = {"corpus_digest": key}
        embedded.append(FolderStore(layout.embeddings).write(file, pa.table(vectors), key, digest))
        for name, logits, information in zip(TEACHERS, some.logits, some.information, strict=True):
            probs = softmax(logits)
            nats = entropy(probs)
            columns = {
                "id": ids,
                "probs": fixed_size_lists(probs.astype(np.float32)),
                "logits": fixed_size_lists(logits),
                "entropy": pa.array(nats.astype(np.float32)),
                "expected_entropy": pa.array(np.maximum(nats - information, 0.0).astype(np.float32)),
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
            written = FolderStore(layout.labels(name)).write(file, pa.table(columns), canonical_key(facts), facts)
            parts[name].append(written)
    seal(layout.corpus, shards)
    seal(layout.embeddings, embedded, encoder)
    named = pa.table({"label": labels, "embedding": fixed_size_lists(centres)})
    of_names = encoder | {"names_schema": LABEL_NAMES_VERSION}
    seal(layout.label_names, [FolderStore(layout.label_names).write(part_name(0), named, "names")], of_names)
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
        Row("integrate with the gate: rows a second", 200_000, 1_000_000 / gated.seconds),
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
