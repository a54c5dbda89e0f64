"""The student: its loss, its training from golden tables alone, and a hub-ready folder with a model card."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import torch
from datasets import Dataset
from huggingface_hub import ModelCard, ModelCardData
from torch import Tensor, nn

from pipeline import store
from pipeline.config import Student
from pipeline.errors import MukiError
from pipeline.layout import MAKE_GOLDEN, Layout
from pipeline.training import (
    Collator,
    ResumableTrainer,
    Watch,
    arguments,
    base_digest,
    load_base,
    logging_steps,
    run,
    save,
    tokenised,
)


def integration_loss(logits: Tensor, target: Tensor, weight: Tensor, temperature: float) -> Tensor:
    """mean_x m(x) · KL(T(x) ‖ S(x)) · T², in log space (MUKI, Eq. 10 as its implementation has it; method.md, point 8).

    Args:
        logits: `[batch, labels]`, the student's.
        target: `[batch, labels]`, golden supervision; 0 is allowed.
        weight: `[batch]`, m(x).
        temperature: T of the student's softmax.

    Returns:
        Scalar, nats.
    """
    log_student = torch.log_softmax(logits.float() / temperature, dim=-1)
    divergence = nn.functional.kl_div(log_student, target, reduction="none").sum(dim=-1)
    return (weight * divergence).mean() * temperature**2


def uhc_loss(
    logits: Tensor, teacher_targets: Tensor, columns: Sequence[Sequence[int]], weight: Tensor, temperature: float
) -> Tensor:
    """mean_x m(x) · Σ_i KL(q_i ‖ S renormalised over Y_i) · T² (UHC, Vongkulbhaisal et al. 2019, Eq. 8).

    Args:
        logits: `[batch, labels]`, the student's.
        teacher_targets: `[batch, labels of all teachers]`, each teacher's distribution in turn.
        columns: For each teacher, the student's column of each of its labels.
        weight: `[batch]`, m(x).
        temperature: T of the student's softmax.

    Returns:
        Scalar, nats.
    """
    apart = torch.split(teacher_targets, [len(each) for each in columns], dim=-1)
    losses = [
        integration_loss(logits[:, list(own)], target, weight, temperature)
        for own, target in zip(columns, apart, strict=True)
    ]
    return torch.stack(losses).sum()


SUPERVISION = ("target", "weight", "teacher_targets")
"""Columns of a golden table that are no input of the model."""


class IntegrationTrainer(ResumableTrainer):
    """A Trainer with `integration_loss`, or `uhc_loss` where the golden table keeps the teachers apart."""

    def __init__(self, *args: Any, temperature: float, columns: Sequence[Sequence[int]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.temperature, self.columns = temperature, columns
        self.model_accepts_loss_kwargs = False  # the loss is a mean over its batch

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """The loss of a batch, and on request the model's outputs."""
        outputs = model(**{name: value for name, value in inputs.items() if name not in SUPERVISION})
        if "teacher_targets" in inputs:
            apart = inputs["teacher_targets"]
            loss = uhc_loss(outputs.logits, apart, self.columns, inputs["weight"], self.temperature)
        else:
            loss = integration_loss(outputs.logits, inputs["target"], inputs["weight"], self.temperature)
        return (loss, outputs) if return_outputs else loss


def read_golden(folder: Path) -> tuple[pa.Table, Mapping[str, Any]]:
    """Text, target and weight of every golden text that weighs anything, and the facts of the table's manifest.

    Raises:
        MukiError: There is none, or a shard is not what the manifest vouches for.
    """
    shards, facts = store.manifest(folder, MAKE_GOLDEN)
    apart = facts["integrate"].get("strategy") == "uhc"
    columns = ["text", "target", "weight", *(["teacher_targets"] if apart else [])]
    table = pa.concat_tables([store.read_shard(folder, shard, MAKE_GOLDEN, columns) for shard in shards])
    return table.filter(pc.greater(table["weight"], 0)), facts


def train_student(settings: Student, layout: Layout, watch: Watch) -> dict[str, float]:
    """Train the student from `data/golden/` and save it to `data/student/`; nothing else of the project is read.

    A killed run goes on from its last checkpoint, which lies in the work folder under a key of the golden table, the
    settings and the files of the model it starts from: no other training's checkpoint is ever used.

    Returns:
        `loss` and, where rows are held out, `validation_loss` at the end.

    Raises:
        MukiError: The golden table is missing, damaged or made for another temperature; the model cannot be loaded.
    """
    table, facts = read_golden(layout.golden)
    if facts["temperature"] != settings.temperature:
        raise MukiError(
            f"was made for temperature {facts['temperature']}, student.temperature is {settings.temperature}",
            where=str(layout.golden),
            fix=MAKE_GOLDEN,
        )
    labels = list(facts["labels"])
    model, tokenizer = load_base(settings, labels, layout.root)
    shards, _ = store.manifest(layout.golden, MAKE_GOLDEN)
    determining = {
        "golden": [shard.sha256 for shard in shards],
        "student": settings.model_dump(),
        "base": base_digest(settings, layout.root),
    }
    checkpoints = layout.work / "student" / store.canonical_key(determining)
    data = tokenised(Dataset(table), tokenizer, settings.max_length)
    train, validation = _hold_out(data, settings)
    steps = -(-len(train) // settings.batch_size) * settings.epochs
    trainer = IntegrationTrainer(
        model=model,
        args=arguments(
            settings,
            checkpoints,
            num_train_epochs=settings.epochs,
            logging_steps=logging_steps(steps),
            save_steps=settings.checkpoint_steps,
            save_total_limit=1,
            # Validation just before each checkpoint: it draws random numbers, and after a resume they must be the same.
            eval_strategy="steps" if validation else "no",
            eval_steps=settings.checkpoint_steps,
            prediction_loss_only=True,
            label_names=[
                name for name in SUPERVISION if name in table.column_names
            ],  # the Trainer takes a validation loss only where it sees these
        ),
        train_dataset=train,
        eval_dataset=validation,
        data_collator=Collator(tokenizer),
        processing_class=tokenizer,
        temperature=settings.temperature,
        columns=[teacher["columns"] for teacher in facts["teachers"].values()],
    )
    run(trainer, watch)
    if validation:
        trainer.evaluate()
    save(trainer, tokenizer, layout.student)
    result = _last_losses(trainer)
    _write_card(layout.student, settings, facts, result)
    shutil.rmtree(checkpoints, ignore_errors=True)
    return result


def _hold_out(data: Dataset, settings: Student) -> tuple[Dataset, Dataset | None]:
    """Training rows and the validation share, at least one row where a share is asked for and there are two."""
    rows = max(round(len(data) * settings.validation_share), 1) if settings.validation_share and len(data) > 1 else 0
    if not rows:
        return data, None
    parts = data.train_test_split(test_size=rows, seed=settings.seed)
    return parts["train"], parts["test"]


def _last_losses(trainer: ResumableTrainer) -> dict[str, float]:
    history = trainer.state.log_history
    last = {name: [entry[name] for entry in history if name in entry] for name in ("loss", "eval_loss")}
    names = {"loss": "loss", "eval_loss": "validation_loss"}
    return {names[name]: values[-1] for name, values in last.items() if values}


def _write_card(folder: Path, settings: Student, facts: Mapping[str, Any], losses: Mapping[str, float]) -> None:
    """README.md of the student: what it knows, from whom, from which texts, and how it was trained."""
    teachers = "\n".join(
        f"| {name} | `{teacher['digest'][:16]}` | {', '.join(teacher['labels'])} |"
        for name, teacher in facts["teachers"].items()
    )
    measured = "\n".join(f"| {name.replace('_', ' ')} | {value:.4f} |" for name, value in losses.items())
    data = ModelCardData(
        library_name="transformers",
        pipeline_tag="text-classification",
        tags=["knowledge-integration", "knowledge-distillation", "muki"],
    )
    settings_used = {key: facts[key] for key in ("label_settings", "integrate")} | {"student": settings.model_dump()}
    content = f"""---
{data.to_yaml()}
---

# A classifier of {len(facts["labels"])} labels, integrated from {len(facts["teachers"])} teachers

It was trained without labelled data, on what its teachers said of {facts["rows"]:,} unlabelled texts, by
[MUKI](https://arxiv.org/abs/2210.05230): Monte-Carlo dropout tells which teacher to trust on which text.

```python
from transformers import pipeline

classify = pipeline("text-classification", "data/student", top_k=None)
```

## Teachers

| teacher | digest of its files | labels |
|---|---|---|
{teachers}

## Data and settings

Corpus: {facts["rows"]:,} texts, digest `{facts["corpus_digest"][:16]}`.

```json
{json.dumps(settings_used, indent=1)}
```

## At the end of training

| measure | nats |
|---|---|
{measured}
"""
    ModelCard(content).save(folder / "README.md")
