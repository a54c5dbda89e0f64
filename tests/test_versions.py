"""Finished work is stored under the version of the code that made it: these facts tell when a version must rise.

If a number or a table's columns have changed on purpose, raise the version constant in `store/schema.py` and write the
new facts with `python -m tests.test_versions`. Otherwise work of the older code would be mixed with new work. What has
only come to the old, as a new strategy's numbers, needs no other version.
"""

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
import torch

from muki_pipeline import config
from muki_pipeline.blocks import Teacher
from muki_pipeline.config import Label
from muki_pipeline.corpus.table import with_ids, write_corpus
from muki_pipeline.embedding.run import embed_corpus
from muki_pipeline.labelling.labeller import Labeller
from muki_pipeline.labelling.run import label_corpus
from muki_pipeline.layout import Layout
from muki_pipeline.models.loaded.student import LoadedStudent
from muki_pipeline.models.students import StudentFiles
from muki_pipeline.models.teachers import locate
from muki_pipeline.store import schema
from muki_pipeline.store.table import Table
from muki_pipeline.supervision.integrate import integrate
from muki_pipeline.supervision.strategies import STRATEGIES
from muki_pipeline.training.student.train import train_student
from tests import tiny

STORED = Path(__file__).parent / "golden_numbers.json"
TOLERANCE = 5e-4
Numbers = dict[str, list[float]]
TEXTS = pl.DataFrame({"text": ["w1 w2 w3 w4", "w7 w7 w9", "w3"]})


def wave(model: Any) -> Any:
    """The model with weights that no random generator draws."""
    with torch.no_grad():
        for number, weights in enumerate(model.parameters()):
            values = torch.sin(torch.arange(weights.numel()) * (1.3 + 0.1 * number))
            weights.copy_(1.5 * values.view_as(weights))
    return model


def save_wave(folder: Path, labels: list[str], **settings: Any) -> None:
    wave(tiny.model(labels, **settings)).save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)


def labels(root: Path) -> Numbers:
    """The columns of a label table."""
    save_wave(root / "m", ["a", "b", "c"])
    settings = Label(passes=8, max_length=20, token_budget=150, device="cpu", dtype="float32")
    table = pa.table({"id": ["0", "1", "2"], "text": ["w1 w2 w3 w4", "", "w7 w7 w9"]})
    shard = Labeller(locate("t", Teacher(model="m"), root), settings).label(table)
    columns = ("probs", "logits", "entropy", "expected_entropy")
    return {name: [float(value) for value in np.ravel(shard[name].to_pylist())] for name in columns}


def features(root: Path) -> Numbers:
    """What a teacher's head reads."""
    path = tiny.save_project(root)
    save_wave(root / "models" / "one", tiny.TEACHER_LABELS["one"])
    params, layout = config.load(path)
    write_corpus(layout.corpus, with_ids(TEXTS), 25)
    label_corpus("one", params.teachers["one"], params.label.model_copy(update={"features": True}), layout)
    return {"features": column(layout.features("one"), "features")}


def embedded(root: Path) -> Layout:
    """A corpus with embeddings of a neutral encoder."""
    path = tiny.save_project(root)
    save_wave(root / "models" / "base", ["LABEL_0", "LABEL_1"])
    params, layout = config.load(path)
    write_corpus(layout.corpus, with_ids(TEXTS), 25)
    for name, teacher in params.teachers.items():
        label_corpus(name, teacher, params.label, layout)
    embed_corpus(params, layout)
    return layout


def embeddings(root: Path) -> Numbers:
    """Of texts."""
    return {"embedding": column(embedded(root).embeddings, "embedding")}


def label_names(root: Path) -> Numbers:
    """Embeddings of label names."""
    return {"embedding": column(embedded(root).label_names, "embedding")}


def column(folder: Path, name: str) -> list[float]:
    """All numbers of a column of vectors."""
    return [float(value) for value in Table.open(folder, "").frame([name])[name].to_numpy().ravel()]


def golden(root: Path) -> Numbers:
    """Targets, weights and scores of every strategy with a fitting scorer."""
    path = tiny.save_project(root)
    for number, (name, known) in enumerate(tiny.TEACHER_LABELS.items()):
        save_wave(root / "models" / name, known, num_hidden_layers=1 + number)
    params, layout = config.load(path)
    # Texts of five kinds, with words of their own: else the gate learns nothing from them.
    texts = [f"w{row % 5} w{row % 5} w{20 + row % 5} w{row}" for row in range(40)]
    write_corpus(layout.corpus, with_ids(pl.DataFrame({"text": texts})), 25)
    for name, teacher in params.teachers.items():
        label_corpus(name, teacher, params.label, layout)
    embed_corpus(params, layout)
    numbers = {}
    for strategy, facts in STRATEGIES.items():
        if facts.reads_features:
            continue
        scorer = config.Integrate().scorer if facts.needs_posterior else "mutual_information"
        settings = config.Integrate(strategy=strategy, scorer=scorer)
        integrate(params.model_copy(update={"integrate": settings}), layout, layout.golden)
        frame = pl.read_parquet(layout.golden / "*.parquet")
        for name in ("target", "scores", "weight"):
            numbers[f"{strategy}: {name}"] = [float(value) for value in frame[name].to_numpy()[::13].ravel()]
    return numbers


def student(root: Path) -> Numbers:
    """Losses of a short training without dropout, whose random numbers may change with torch."""
    path = tiny.save_project(root)
    settings = {"num_hidden_layers": 1, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    save_wave(root / "models" / "base", ["LABEL_0", "LABEL_1"], **settings)
    params, layout = config.load(path)
    write_corpus(layout.corpus, with_ids(pl.DataFrame({"text": [f"w{row % 9} w{row}" for row in range(24)]})), 50)
    for name, teacher in params.teachers.items():
        save_wave(root / "models" / name, tiny.TEACHER_LABELS[name])
        label_corpus(name, teacher, params.label, layout)
    integrate(params, layout, layout.golden)
    return {name: [value] for name, value in train_student(params, layout).items()}


def predictions(root: Path) -> Numbers:
    """What a classifier answers."""
    known, device = ("a", "b", "c"), torch.device("cpu")
    model = wave(tiny.model(list(known))).eval()
    loaded = LoadedStudent(model, tiny.tokenizer(), 24, device, StudentFiles(root, known))
    return {"probs": [float(value) for value in loaded.probs(TEXTS["text"].to_list()).ravel()]}


def described(column: schema.Column) -> str:
    """A column's type in words."""
    return f"{column.number} for each of {column.type}" if isinstance(column.type, str) else str(column.type)


@dataclass(frozen=True)
class Kind:
    """A kind of finished work.

    Attributes:
        version: Name of its version.
        columns: Of its tables.
        make: Its numbers by name, made in an empty folder.
    """

    version: str
    columns: tuple[schema.Column, ...] = ()
    make: Callable[[Path], Numbers] = lambda root: {}

    def facts(self, root: Path) -> dict[str, Any]:
        """What is stored: the version, the columns with their types, and the numbers."""
        types = {each.name: described(each) for each in self.columns}
        numbers = {name: [round(value, 6) for value in values] for name, values in self.make(root).items()}
        return {"version": getattr(schema, self.version), "columns": types, "numbers": numbers}


KINDS = {
    "labels": Kind("LABELS_VERSION", schema.LABELS, labels),
    "features": Kind("FEATURES_VERSION", schema.FEATURES, features),
    "embeddings": Kind("EMBEDDINGS_VERSION", schema.EMBEDDINGS, embeddings),
    "label names": Kind("LABEL_NAMES_VERSION", schema.LABEL_NAMES, label_names),
    "golden": Kind("GOLDEN_VERSION", (*schema.GOLDEN, schema.TEACHER_TARGETS, schema.TEACHER_FEATURES), golden),
    "predictions": Kind("PREDICTIONS_VERSION", make=predictions),
    "student": Kind("STUDENT_VERSION", make=student),
}


def verdict(stored: dict[str, Any], now: dict[str, Any], version: str) -> str:
    """What must be done before these facts may stand for the stored ones; empty if nothing."""
    run = "run python -m tests.test_versions"
    old, new = stored["numbers"], now["numbers"]
    changed = [name for name in old.keys() & new.keys() if not is_close(old[name], new[name])]
    if stored["columns"] != now["columns"]:
        changed.append("columns")
    if stored["version"] != now["version"]:
        return f"{version} was raised: {run}"
    if changed:
        return f"these have changed: {sorted(changed)}. Raise {version}, then {run}"
    return f"other names, old numbers: {run}" if old.keys() != new.keys() else ""


def is_close(old: list[float], new: list[float]) -> bool:
    return len(old) == len(new) and np.allclose(new, old, atol=TOLERANCE, rtol=TOLERANCE)


@pytest.mark.parametrize("kind", KINDS)
def test_what_changed_has_another_version(kind: str, tmp_path: Path) -> None:
    stored = json.loads(STORED.read_text())
    assert [*stored] == [*KINDS]
    assert verdict(stored[kind], KINDS[kind].facts(tmp_path), KINDS[kind].version) == ""


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, ""),
        ({"numbers": {"a": [1.0], "b": [2.0]}}, "other names, old numbers: run"),
        ({"numbers": {"a": [1.1], "b": [2.0]}}, "these have changed: ['a']. Raise"),
        ({"columns": {"id": "string", "more": "float"}}, "these have changed: ['columns']. Raise"),
        ({"columns": {}, "version": 4}, "V was raised: run"),
    ],
)
def test_only_what_changed_asks_for_another_version(change: dict[str, Any], expected: str) -> None:
    stored = {"version": 3, "columns": {"id": "string"}, "numbers": {"a": [1.0]}}
    assert verdict(stored, stored | change, "V").startswith(expected)
    assert expected or verdict(stored, stored | change, "V") == ""


def main() -> None:
    """Write the facts of the code as it is."""
    torch.set_num_threads(1)
    content = {}
    for name, kind in KINDS.items():
        with tempfile.TemporaryDirectory() as folder:
            content[name] = kind.facts(Path(folder))
    STORED.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
