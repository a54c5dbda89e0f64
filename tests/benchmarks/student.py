"""The student's epoch against plain supervised fine-tuning of the same model on the same texts."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset

from pipeline.config import Arithmetic, Student
from pipeline.layout import Layout
from pipeline.tables import schema
from pipeline.tables.columns import fixed_size_lists
from pipeline.tables.manifest import seal, unseal
from pipeline.tables.shards import part_name, write_shard
from pipeline.training.base import load_base
from pipeline.training.batches import Collator, tokenised
from pipeline.training.student.train import train_student
from pipeline.training.trainer import ResumableTrainer, arguments, logging_steps, save
from tests.benchmarks.labelling import LABELS, MODEL, corpora
from tests.benchmarks.measure import Row, side_by_side

TEXTS_TIMES = 2
ROUNDS = 3
PRECISIONS: dict[Arithmetic, float] = {"auto": 1.05, "float32": 0.50}
"""The plain training's arithmetic, and the target; `train-student` has its default."""


def rows(folder: Path) -> list[Row]:
    """Both through the same Trainer, data set, batches, checkpoint and saving.

    Three epochs of three layers. The plain one trains all embeddings, has gold labels for targets, and begins with a
    random head.
    """
    found = []
    for tokens in (16, 64):
        for precision, target in PRECISIONS.items():
            what = f"train-student / plain fine-tuning in {precision}, at {tokens} tokens, seconds"
            found.append(Row(what, target, _against_plain(folder, tokens, precision), at_most=True))
    return found


def _against_plain(folder: Path, tokens: int, precision: Arithmetic) -> float:
    layout = Layout(folder / "student")
    texts = corpora(folder)["Reuters R8"] * TEXTS_TIMES
    drawn = np.random.default_rng(0)
    targets = drawn.dirichlet(np.full(len(LABELS), 0.3), len(texts)).astype(np.float32)
    table = pa.table({"text": texts, "weight": np.ones(len(texts), dtype=np.float32)})
    table = table.append_column("target", fixed_size_lists(targets))
    facts: dict[str, Any] = {
        "schema": schema.GOLDEN_VERSION,
        "loss": "kl",
        "labels": LABELS,
        "teachers": {},
        "label_settings": {},
        "integrate": {},
        "temperature": 1.0,
        "corpus_digest": "",
        "rows": len(texts),
    }
    unseal(layout.golden)
    seal(layout.golden, [write_shard(layout.golden / part_name(0), table, "")], facts)
    common: dict[str, Any] = {"model": MODEL, "layers": 3, "epochs": 3, "batch_size": 16, "max_length": tokens}
    common |= {"validation_share": 0, "checkpoint_steps": 10_000, "pooling": "cls"}  # the same network as the plain one
    settings = Student(**common)

    def distilled() -> None:
        shutil.rmtree(layout.student, ignore_errors=True)  # else it is kept
        train_student(settings, layout.golden, layout.student, layout.work, folder)

    def supervised() -> None:
        settings = Student(**{**common, "precision": precision})
        model, tokenizer = load_base(settings, LABELS, folder)
        data = Dataset(pa.table({"text": texts, "labels": targets.argmax(axis=1)}))
        trainer = ResumableTrainer(
            model=model,
            args=arguments(
                settings,
                folder / "supervised" / "checkpoints",
                num_train_epochs=common["epochs"],
                logging_steps=logging_steps(len(texts) // 16 * common["epochs"]),
                save_steps=settings.checkpoint_steps,
            ),
            train_dataset=tokenised(data, tokenizer, settings.max_length),
            data_collator=Collator(tokenizer),
            processing_class=tokenizer,
        )
        trainer.train()
        save(trainer, tokenizer, folder / "supervised" / "model", "", {})
        shutil.rmtree(folder / "supervised" / "checkpoints")  # else the next round goes on from there

    return side_by_side(distilled, supervised, ROUNDS)
