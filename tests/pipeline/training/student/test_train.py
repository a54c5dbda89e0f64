import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
import torch

from muki_pipeline import config
from muki_pipeline.errors import MukiError
from muki_pipeline.layout import Layout
from muki_pipeline.models import devices
from muki_pipeline.progress import SILENT, Progress
from muki_pipeline.store.columns import fixed_size_lists
from muki_pipeline.store.folder import FolderStore
from muki_pipeline.store.schema import GOLDEN_VERSION
from muki_pipeline.store.table import Table, part_name, seal, unseal
from muki_pipeline.training.student.golden_rows import golden_shards
from muki_pipeline.training.student.plan import epochs_of
from muki_pipeline.training.student.train import StudentTraining
from tests import tiny
from tests.recorder import Recorder

LABELS = ["apple", "pear", "oak"]


def save_golden(layout: Layout, rows: int = 40) -> None:
    """A golden table whose target follows from the first word: something a student can learn."""
    texts = [f"w{number % 3} {text}" for number, text in enumerate(tiny.texts(rows, longest=10))]
    targets = np.full((rows, 3), 0.05, dtype=np.float32)
    targets[np.arange(rows), np.arange(rows) % 3] = 0.9
    table = pl.DataFrame({"text": texts, "weight": np.ones(rows, dtype=np.float32)}).to_arrow()
    table = table.append_column("target", fixed_size_lists(targets))
    facts = {
        "schema": GOLDEN_VERSION,
        "loss": "kl",
        "labels": LABELS,
        "teachers": {"one": {"labels": LABELS, "digest": "d" * 64, "columns": [0, 1, 2]}},
        "label_settings": {"passes": 3},
        "integrate": {"strategy": "posterior", "scorer": "gate"},
        "temperature": 1.0,
        "corpus_digest": "c" * 64,
        "rows": rows,
    }
    unseal(layout.golden)
    parts = [table.slice(0, 25), table.slice(25)]
    written = [FolderStore(layout.golden).write(part_name(n), part, f"k{n}") for n, part in enumerate(parts)]
    seal(layout.golden, written, facts)


def train(settings: config.StudentSettings, layout: Layout, progress: Progress = SILENT) -> dict[str, float]:
    return StudentTraining(settings, layout.golden, layout.student, layout.work, layout.root).run(progress)


def save_base(layout: Layout, seed: int) -> None:
    tiny.save_pretrained_encoder(layout.root / "base", seed, initializer_range=0.1)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path)
    save_golden(layout)
    save_base(layout, 4)
    return layout


SETTINGS = config.StudentSettings(
    model="base", epochs=25, batch_size=8, learning_rate=5e-3, max_length=16, checkpoint_steps=40, precision="float32"
)


@pytest.mark.parametrize(
    ("texts", "batch", "epochs"),
    [(1, 16, 1000), (250, 16, 63), (250, 64, 96), (1000, 16, 16), (4000, 64, 6), (11_000, 16, 3), (10**7, 64, 3)],
)
def test_a_small_corpus_is_read_often_enough_to_learn_from(texts: int, batch: int, epochs: int) -> None:
    assert epochs_of(config.StudentSettings(model="base", batch_size=batch), texts) == epochs
    assert epochs_of(config.StudentSettings(model="base", epochs=7), texts) == 7


def test_texts_without_weight_teach_nothing(layout: Layout) -> None:
    golden = Table.open(layout.golden, "")
    first = golden.shards[0].read()
    weights = np.where(np.arange(len(first)) < 5, 0.0, 1.0).astype(np.float32)
    table = first.set_column(first.column_names.index("weight"), "weight", pa.array(weights))
    changed = FolderStore(layout.golden).write(part_name(0), table, "k")
    seal(layout.golden, [changed, *golden.shards[1:]], golden.facts)
    assert sum(len(part) for part in golden_shards(layout.golden, ["text", "weight"])) == 35


def test_the_student_learns_from_the_golden_table_alone_and_loads_anywhere(layout: Layout) -> None:
    assert {path.name for path in layout.root.iterdir()} == {"base", "data"}
    assert {path.name for path in (layout.root / "data").iterdir()} == {"golden"}
    recorder = Recorder()
    losses = train(SETTINGS, layout, recorder)
    assert recorder.tasks[0].total == sum(recorder.tasks[0].amounts) == 125
    assert losses["loss"] < 0.1
    assert losses["validation_loss"] < 0.3
    from transformers import pipeline

    classify = pipeline("text-classification", str(layout.student), top_k=None)
    for number, label in enumerate(LABELS):
        scores = {found["label"]: found["score"] for found in classify(f"w{number} w9 w8")[0]}
        assert set(scores) == set(LABELS)
        assert max(scores, key=lambda name: scores[name]) == label
    assert {path.name for path in layout.student.iterdir()} == {
        "README.md",
        "config.json",
        "model.safetensors",
        "sha256.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "training.json",
        "training_curve.csv",
    }
    card = (layout.student / "README.md").read_text()
    assert card.startswith("---\n")
    for expected in ("apple, pear, oak", "d" * 16, "c" * 16, "40 texts", f"{losses['validation_loss']:.4f}"):
        assert expected in card
    curve = pl.read_csv(layout.student / "training_curve.csv")
    assert curve.filter(pl.col("validation_loss").is_not_null())["step"].to_list() == [40, 80, 120, 125]
    assert curve["loss"].drop_nulls()[-1] < curve["loss"].drop_nulls()[0]
    model_config = (layout.student / "config.json").read_text()
    assert '"problem_type": "single_label_classification"' in model_config


class Killed(Exception):
    pass


def killer(step: int) -> Recorder:
    """Stops the training after this step."""

    def stop(done: int) -> None:
        if done == step:
            raise Killed

    return Recorder(stop)


@pytest.mark.parametrize("checkpoint_steps", [10, 7])  # at the end of an epoch, and within one
def test_a_killed_training_goes_on_to_the_same_student(layout: Layout, checkpoint_steps: int) -> None:
    settings = SETTINGS.model_copy(update={"checkpoint_steps": checkpoint_steps, "epochs": 6})
    train(settings, layout)
    expected = (layout.student / "model.safetensors").read_bytes()
    shutil.rmtree(layout.student)

    with pytest.raises(Killed):
        train(settings, layout, killer(13))
    assert not layout.student.exists()
    training = StudentTraining(settings, layout.golden, layout.student, layout.work, layout.root)
    assert training.is_begun()
    recorder = Recorder()
    train(settings, layout, recorder)
    assert not training.is_begun()
    assert recorder.tasks[0].amounts == [checkpoint_steps + 1, *[1] * (30 - checkpoint_steps - 1)]
    assert (layout.student / "model.safetensors").read_bytes() == expected


@pytest.mark.parametrize("damage", ["partial", "flipped", "cut", "unsealed", "all"])
def test_a_partial_or_damaged_checkpoint_is_never_used(layout: Layout, damage: str) -> None:
    settings = SETTINGS.model_copy(update={"checkpoint_steps": 5, "epochs": 6})
    train(settings, layout)
    expected = (layout.student / "model.safetensors").read_bytes()
    shutil.rmtree(layout.student)

    with pytest.raises(Killed):
        train(settings, layout, killer(13))
    (whole,) = layout.work.rglob("checkpoint-10")
    if damage in ("partial", "all"):  # killed while the next one was written
        shutil.copytree(whole, whole.with_name("checkpoint-15"))
        (whole.with_name("checkpoint-15") / "sha256.json").unlink()
        (whole.with_name("checkpoint-15") / "trainer_state.json").unlink()
    optimiser = whole / "optimizer.pt"
    content = optimiser.read_bytes()
    if damage == "unsealed":
        (whole / "sha256.json").unlink()
    if damage in ("flipped", "all"):
        optimiser.write_bytes(content[:500] + bytes([content[500] ^ 1]) + content[501:])
    if damage == "cut":
        optimiser.write_bytes(content[:500])
    recorder = Recorder()
    train(settings, layout, recorder)
    assert recorder.tasks[0].amounts[0] == (11 if damage == "partial" else 1)
    assert (layout.student / "model.safetensors").read_bytes() == expected


def test_a_disk_that_fills_during_a_checkpoint_is_one_line_and_loses_no_checkpoint(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = SETTINGS.model_copy(update={"checkpoint_steps": 5, "epochs": 6})
    train(settings, layout)
    expected = (layout.student / "model.safetensors").read_bytes()
    saved = torch.save

    def full(content: Any, path: Any, *args: Any, **kwargs: Any) -> None:
        if "checkpoint-10" in str(path):
            raise OSError(28, "No space left on device", str(path))
        saved(content, path, *args, **kwargs)

    monkeypatch.setattr(torch, "save", full)
    shutil.rmtree(layout.student)
    with pytest.raises(MukiError, match=r"a checkpoint cannot be written .*No space left"):
        train(settings, layout)
    monkeypatch.setattr(torch, "save", saved)
    recorder = Recorder()
    train(settings, layout, recorder)
    assert recorder.tasks[0].amounts[0] == 6
    assert (layout.student / "model.safetensors").read_bytes() == expected


def test_a_student_is_not_asked_to_read_more_than_its_base_can(layout: Layout) -> None:
    with pytest.raises(MukiError, match="it reads at most 64 tokens and max_length is 100"):
        train(SETTINGS.model_copy(update={"max_length": 100}), layout)


@pytest.mark.parametrize(("seed_of_student", "seed_of_base"), [(1, 4), (0, 5)])
def test_the_checkpoint_of_another_training_is_not_used(
    layout: Layout, seed_of_student: int, seed_of_base: int
) -> None:
    settings = SETTINGS.model_copy(update={"checkpoint_steps": 5, "epochs": 2})

    with pytest.raises(Killed):
        train(settings, layout, killer(7))
    save_base(layout, seed_of_base)
    recorder = Recorder()
    train(settings.model_copy(update={"seed": seed_of_student}), layout, recorder)
    assert recorder.tasks[0].amounts[0] == 1


def test_a_golden_table_of_another_temperature_is_refused(layout: Layout) -> None:
    with pytest.raises(MukiError, match=r"made for temperature 1\.0, but student\.temperature is 2\.0"):
        train(SETTINGS.model_copy(update={"temperature": 2.0}), layout)


def test_a_missing_or_changed_golden_table_is_refused(layout: Layout) -> None:
    path = layout.golden / "part-00001.parquet"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(MukiError, match=r"part-00001\.parquet: has SHA-256 .*Run muki-pipeline integrate"):
        train(SETTINGS, layout)
    shutil.rmtree(layout.golden)
    with pytest.raises(MukiError, match="there is no finished table"):
        train(SETTINGS, layout)


def test_a_model_that_cannot_be_trained_is_refused(layout: Layout) -> None:
    (layout.root / "base" / "model.safetensors").write_bytes(b"no")
    with pytest.raises(MukiError, match="base: cannot be loaded as a classifier to train"):
        train(SETTINGS, layout)


def test_a_student_that_is_there_is_kept_unless_something_changed(layout: Layout) -> None:
    settings = SETTINGS.model_copy(update={"epochs": 1})
    losses = train(settings, layout)
    recorder = Recorder()
    assert train(settings, layout, recorder) == losses
    assert recorder.tasks == []
    train(settings.model_copy(update={"learning_rate": 1e-3}), layout, recorder)
    assert len(recorder.tasks) == 1
    (layout.student / "config.json").write_text("{}")
    train(settings.model_copy(update={"learning_rate": 1e-3}), layout, recorder)
    assert len(recorder.tasks) == 2


def test_the_saved_tokenizer_reads_what_the_student_was_trained_to_read(layout: Layout) -> None:
    from transformers import AutoTokenizer

    train(SETTINGS.model_copy(update={"epochs": 1}), layout)
    assert AutoTokenizer.from_pretrained(layout.student).model_max_length == SETTINGS.max_length


def test_texts_are_padded_on_the_right_as_in_prediction(layout: Layout) -> None:
    settings = SETTINGS.model_copy(update={"epochs": 1})
    train(settings, layout)
    expected = (layout.student / "model.safetensors").read_bytes()
    tokenizer = layout.root / "base" / "tokenizer_config.json"
    tokenizer.write_text(json.dumps(json.loads(tokenizer.read_text()) | {"padding_side": "left"}))
    recorder = Recorder()
    train(settings, layout, recorder)
    assert len(recorder.tasks) == 1
    assert (layout.student / "model.safetensors").read_bytes() == expected


def test_fewer_layers_make_a_smaller_student(layout: Layout) -> None:
    train(SETTINGS.model_copy(update={"layers": 1, "epochs": 1}), layout)
    assert '"num_hidden_layers": 2' in (layout.student / "config.json").read_text()


def test_a_diverged_training_keeps_the_old_student(layout: Layout) -> None:
    train(SETTINGS.model_copy(update={"epochs": 1}), layout)
    before = (layout.student / "model.safetensors").read_bytes()
    with pytest.raises(MukiError, match="the training diverged"):
        train(SETTINGS.model_copy(update={"epochs": 1, "learning_rate": 1e30}), layout)
    assert (layout.student / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    ("layers", "changes", "message"),
    [
        (3, {}, "it has 2 layers, and 3 are asked for"),
        (None, {"num_hidden_layers": 1}, "fewer layers than its weights"),
        (None, {"num_hidden_layers": 3}, "would be random"),
        (None, {"hidden_size": 32}, "would be random"),
    ],
)
def test_a_base_whose_weights_do_not_fit_is_refused(
    layout: Layout, layers: int | None, changes: dict[str, int], message: str
) -> None:
    path = layout.root / "base" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(MukiError, match=message):
        train(SETTINGS.model_copy(update={"layers": layers}), layout)


def test_a_student_that_was_trained_in_another_arithmetic_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`precision: auto` is measured in each run, and a busy machine may come to another answer."""
    layout = Layout(tmp_path)
    save_golden(layout)
    save_base(layout, 0)
    settings = SETTINGS.model_copy(update={"precision": "auto", "epochs": 1})
    monkeypatch.setattr(devices, "fast_dtype", lambda device: "float32")
    first = train(settings, layout)
    monkeypatch.setattr(devices, "fast_dtype", lambda device: "bfloat16")
    recorder = Recorder()
    assert train(settings, layout, recorder) == first
    assert recorder.tasks == []
