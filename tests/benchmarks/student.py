"""The student's training: against plain supervised fine-tuning of the same model, and several at once."""

import shutil
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from transformers import PrinterCallback

from muki_pipeline.blocks import Source, Teacher
from muki_pipeline.config import Arithmetic, Params, Prepare, StudentSettings
from muki_pipeline.evaluation.comparison.students import StudentJob, StudentProcesses
from muki_pipeline.layout import Layout
from muki_pipeline.models.devices import fast_dtype
from muki_pipeline.progress import SILENT
from muki_pipeline.setup.settings import batch_of
from muki_pipeline.store import schema
from muki_pipeline.store.columns import fixed_size_lists
from muki_pipeline.store.folder import FolderStore
from muki_pipeline.store.table import part_name, seal, unseal
from muki_pipeline.training.base import load_base
from muki_pipeline.training.batches import Collator, tokenised
from muki_pipeline.training.saving import save
from muki_pipeline.training.student.train import StudentTraining
from muki_pipeline.training.trainer import ResumableTrainer, arguments
from tests.benchmarks.labelling import BENCH, LABELS, MODEL, corpora
from tests.benchmarks.measure import Row, side_by_side

TEXTS_TIMES = 4
ROUNDS = 2
STUDENTS = 2
# Texts of so many tokens, and how many of them `init` puts into a step.
BATCHES = {length: batch_of(length) for length in (16, 48, 128)}
PLAIN_BATCH = 16
TARGET = 0.50
# The same network as the plain one.
TRAINING: dict[str, Any] = {
    "model": MODEL,
    "epochs": 2,
    "batch_size": PLAIN_BATCH,
    "validation_share": 0,
    "checkpoint_steps": 10_000,
    "pooling": "cls",
}


def rows(folder: Path) -> list[Row]:
    """Both through the same Trainer, data set, arithmetic, checkpoint and saving, start and end included.

    The plain one has the model's own dropout, attention and all embeddings, gold labels for targets, and a random head.
    """
    default, found = fast_dtype(torch.device("cpu")), []
    what = "train-student / plain fine-tuning, seconds, both in"
    for tokens, batch in BATCHES.items():
        for plain in sorted({batch, PLAIN_BATCH}):
            ratio = _against_plain(folder, tokens, default, batch, plain)
            batches = f"batches of {batch}" if batch == plain else f"batches of {batch} / {plain}"
            found.append(Row(f"{what} {default}", TARGET, ratio, f"{tokens} tokens, {batches}", at_most=True))
    if default != "float32":
        ratio = _against_plain(folder, 48, "float32", BATCHES[48], BATCHES[48])
        found.append(Row(f"{what} float32", TARGET, ratio, f"48 tokens, batches of {BATCHES[48]}", at_most=True))
    return [*found, *_at_once(folder)]


def _golden_table(folder: Path) -> tuple[Layout, list[str], np.ndarray[Any, np.dtype[np.float32]]]:
    """A table of random targets, its texts and the targets."""
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
        "integrate": {"strategy": "posterior", "scorer": "gate"},
        "temperature": 1.0,
        "corpus_digest": "",
        "rows": len(texts),
    }
    unseal(layout.golden)
    seal(layout.golden, [FolderStore(layout.golden).write(part_name(0), table, "")], facts)
    return layout, texts, targets


def _against_plain(folder: Path, tokens: int, precision: Arithmetic, batch: int, plain_batch: int) -> float:
    layout, texts, targets = _golden_table(folder)
    plain = StudentSettings(**TRAINING, max_length=tokens).model_copy(
        update={"precision": precision, "batch_size": plain_batch}
    )
    settings = plain.model_copy(update={"batch_size": batch})

    def distilled() -> None:
        shutil.rmtree(layout.student, ignore_errors=True)  # else it is kept
        StudentTraining(settings, layout.golden, layout.student, layout.work, folder).run()

    def supervised() -> None:
        model, tokenizer = load_base(plain, LABELS, folder)
        model.set_attn_implementation("sdpa")  # transformers' own choice
        data = tokenised({"text": texts, "labels": targets.argmax(axis=1)}, tokenizer, plain.max_length)
        trainer = ResumableTrainer(
            model=model,
            args=arguments(
                plain,
                folder / "supervised" / "checkpoints",
                len(texts) // plain_batch * TRAINING["epochs"],
                num_train_epochs=TRAINING["epochs"],
                save_steps=plain.checkpoint_steps,
            ),
            train_dataset=data,
            data_collator=Collator(tokenizer),
            processing_class=tokenizer,
        )
        trainer.remove_callback(PrinterCallback)  # its lines would stand before the table
        trainer.train()
        save(trainer, model, folder / "supervised" / "model", "")
        shutil.rmtree(folder / "supervised" / "checkpoints")  # else the next round goes on from there

    return side_by_side(distilled, supervised, ROUNDS)


def _at_once(folder: Path) -> list[Row]:
    """Students of a comparison, trained by processes with a part of the cores each, against one after the other."""
    layout, texts, _ = _golden_table(folder)
    params = Params(
        prepare=Prepare(corpus=Source(source="none.csv", text="text")),
        teachers={"bench": Teacher(**BENCH)},
        student=StudentSettings(**TRAINING),
    )
    seeds = count()

    def jobs() -> list[StudentJob]:
        """Students that were not trained before."""
        return [_job(layout, texts, params, next(seeds)) for _ in range(STUDENTS)]

    def in_turn() -> None:
        for job in jobs():
            job.run(SILENT)

    with StudentProcesses() as processes:  # which start in the first round: it warms up
        ratio = side_by_side(in_turn, lambda: list(processes.run(jobs(), STUDENTS, SILENT)), ROUNDS)
    return [Row(f"{STUDENTS} students of compare, one after the other / at once, seconds", 1.0, ratio)]


def _job(layout: Layout, texts: list[str], params: Params, seed: int) -> StudentJob:
    return StudentJob(
        rule="bench",
        settings=StudentSettings(**{**TRAINING, "layers": 3, "epochs": 6}, max_length=16, seed=seed),
        params=params,
        golden=layout.golden,
        labels=LABELS,
        texts=texts,
        folder=layout.root / f"student-{seed}",
        checkpoints=layout.work / f"checkpoints-{seed}",
        root=layout.root,
        predictions=layout.root / f"predictions-{seed}.parquet",
    )
