"""Finished work is stored under the version of the code that made it: these numbers tell when a version must rise.

If a number here has changed on purpose, raise the version constant in `store/schema.py` and write the new
numbers with `python -m tests.test_versions`. Otherwise work of the older code would be mixed with new work.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
import torch

from muki_pipeline import config
from muki_pipeline.config import Label, Teacher
from muki_pipeline.corpus.table import with_ids, write_corpus
from muki_pipeline.embedding.run import embed_corpus
from muki_pipeline.labelling.labeller import Labeller
from muki_pipeline.labelling.run import label_corpus
from muki_pipeline.models.teachers import locate
from muki_pipeline.store import schema
from muki_pipeline.supervision.integrate import integrate
from muki_pipeline.supervision.strategies import STRATEGIES
from muki_pipeline.training.student.train import train_student
from tests import tiny

STORED = Path(__file__).parent / "golden_numbers.json"
VERSIONS = {"labels": "LABELS_VERSION", "golden": "GOLDEN_VERSION", "student": "STUDENT_VERSION"}
TOLERANCE = 5e-4


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


def labels(root: Path) -> list[float]:
    save_wave(root / "m", ["a", "b", "c"])
    settings = Label(passes=8, max_length=20, token_budget=150, device="cpu", dtype="float32")
    table = pa.table({"id": ["0", "1", "2"], "text": ["w1 w2 w3 w4", "", "w7 w7 w9"]})
    shard = Labeller(locate("t", Teacher(model="m"), root), settings).label(table)
    columns = ("probs", "logits", "entropy", "expected_entropy")
    return [float(value) for name in columns for value in np.ravel(shard[name].to_pylist())]


def golden(root: Path) -> list[float]:
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
    numbers = []
    for strategy in (name for name, each in STRATEGIES.items() if not each.reads_features):
        scorer = config.Integrate().scorer if strategy == "posterior" else "mutual_information"
        settings = config.Integrate(strategy=strategy, scorer=scorer)
        integrate(params.model_copy(update={"integrate": settings}), layout, layout.golden)
        frame = pl.read_parquet(layout.golden / "*.parquet")
        numbers += [float(value) for name in ("target", "scores") for value in frame[name].to_numpy()[::13].ravel()]
        numbers += frame["weight"].to_list()[::13]
    return numbers


def student(root: Path) -> list[float]:
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
    losses = train_student(params.student, layout)
    return list(losses.values())


MAKERS = {"labels": labels, "golden": golden, "student": student}


@pytest.mark.parametrize("kind", MAKERS)
def test_a_number_that_changed_has_another_version(kind: str, tmp_path: Path) -> None:
    stored = json.loads(STORED.read_text())[kind]
    version = getattr(schema, VERSIONS[kind])
    numbers = MAKERS[kind](tmp_path)
    is_same = len(numbers) == len(stored["numbers"]) and np.allclose(
        numbers, stored["numbers"], atol=TOLERANCE, rtol=TOLERANCE
    )
    if version == stored["version"]:
        assert is_same, f"these numbers have changed: raise {VERSIONS[kind]}, then run python -m tests.test_versions"
    else:
        assert is_same, f"{VERSIONS[kind]} was raised: run python -m tests.test_versions"


def main() -> None:
    """Write the numbers of the code as it is."""
    torch.set_num_threads(1)
    content = {}
    for kind, make in MAKERS.items():
        with tempfile.TemporaryDirectory() as folder:
            numbers = [round(number, 6) for number in make(Path(folder))]
        content[kind] = {"version": getattr(schema, VERSIONS[kind]), "numbers": numbers}
    STORED.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
