"""The student: trained from a golden table alone and saved as a folder that is ready for the hub."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from muki_pipeline.config import StudentSettings
from muki_pipeline.errors import MukiError
from muki_pipeline.layout import MAKE_GOLDEN, Layout, open_golden
from muki_pipeline.progress import SILENT, Progress
from muki_pipeline.store import files, schema
from muki_pipeline.store.keys import canonical_key
from muki_pipeline.store.store import Shard
from muki_pipeline.training.base import base_facts
from muki_pipeline.training.batches import Collator
from muki_pipeline.training.finished import last_losses, only_training, save, trained_before
from muki_pipeline.training.processes import first_decides, is_first
from muki_pipeline.training.student.distillation import Distillation
from muki_pipeline.training.student.golden_rows import read_tokens, surest_texts, write_tokens
from muki_pipeline.training.student.losses import LOSSES
from muki_pipeline.training.student.model_card import model_card
from muki_pipeline.training.student.start import fit_head, load_start
from muki_pipeline.training.trainer import ResumableTrainer, arguments, last_checkpoint, run, settled

_LOG = logging.getLogger(__name__)
_FEWEST_STEPS, _FEWEST_EPOCHS = 1000, 3
"""Of `epochs: auto`. Many labels take steps to learn, however few texts there are."""


def train_student(settings: StudentSettings, layout: Layout, progress: Progress = SILENT) -> dict[str, float]:
    """Train the project's student from its golden table; see `StudentTraining.run`.

    A student that is there already, of the same table and settings, is kept; one that DVC has removed is put back.

    Raises:
        MukiError: Another process trains it; see `StudentTraining.run`.
    """
    work = layout.work / "student"
    training = StudentTraining(settings, layout.golden, layout.student, work, layout.root)
    with only_training(layout.student, layout.cached_student, work.with_suffix(".lock"), "training the student"):
        return training.run(progress)


@dataclass(frozen=True)
class _Plan:
    """What a training settles before it begins.

    Attributes:
        settings: With the arithmetic settled.
        facts: The golden table's manifest.
        key: See `training_key`.
        finished: The losses of the student that is there already, if one is.
    """

    settings: StudentSettings
    facts: Mapping[str, Any]
    key: str
    finished: dict[str, float] | None


@dataclass(frozen=True)
class StudentTraining:
    """A student's training: what it reads, and where it writes.

    Attributes:
        settings: The `student` block.
        golden: Folder of the golden table; nothing else of a project is read.
        output: Folder of the student.
        work: Folder of tokens and checkpoints while the training lasts, under its key: no other training's are used.
        root: What a relative model path is relative to.
        name: What progress calls the training.
    """

    settings: StudentSettings
    golden: Path
    output: Path
    work: Path
    root: Path
    name: str = "student"

    def run(self, progress: Progress = SILENT) -> dict[str, float]:
        """Train the student and save it, unless it is there already. A killed run continues from its last checkpoint.

        Under torchrun every process calls this. The first one plans, tokenises and saves for all.

        Returns:
            `loss` and, where rows are held out, `validation_loss` at the end.

        Raises:
            MukiError: The golden table is missing, damaged or made for another temperature; the model cannot be loaded;
                the training diverged.
        """
        plan = first_decides(self._plan)
        if plan.finished is not None:
            _LOG.info("%s is of this table and these settings already", self.output)
            return plan.finished
        _LOG.info("%s starts from %s, in %s", self.name, self.settings.model, plan.settings.precision)
        student, tokenizer = load_start(plan.settings, plan.facts["labels"], self.root)
        distillation = Distillation(student, plan.facts)
        tokens = self._tokens(plan, distillation, tokenizer)
        trainer = self._fit(plan, distillation, tokenizer, tokens, progress)
        self._save(plan, distillation, trainer)
        return last_losses(trainer)

    def _plan(self) -> _Plan:
        """Open the golden table, settle the arithmetic, and look for the student."""
        table = open_golden(self.golden)
        shards, facts = table.shards, table.facts
        if facts.get("loss") not in LOSSES:
            raise MukiError("was made by another version of this program", where=str(self.golden), fix=MAKE_GOLDEN)
        if facts["temperature"] != self.settings.temperature:
            what = f"was made for temperature {facts['temperature']}"
            what += f", but student.temperature is {self.settings.temperature}"
            raise MukiError(what, where=str(self.golden), fix=MAKE_GOLDEN)

        def finished(settings: StudentSettings) -> dict[str, float] | None:
            return trained_before(self.output, training_key(settings, shards, self.root))

        def begun(settings: StudentSettings) -> bool:
            return files.exists(self.work / training_key(settings, shards, self.root))

        settings = settled(self.settings, lambda each: finished(each) is not None, begun)
        return _Plan(settings, facts, training_key(settings, shards, self.root), finished(settings))

    def _tokens(
        self, plan: _Plan, distillation: Distillation, tokenizer: PreTrainedTokenizerBase
    ) -> tuple[Dataset, Dataset | None]:
        """Tokenise the golden table, once; the texts to train on, and those that are held out."""
        path = self.work / plan.key / "tokens.arrow"
        length = plan.settings.max_length
        first_decides(lambda: write_tokens(self.golden, distillation.supervision, tokenizer, length, path))
        return _hold_out(read_tokens(path), plan.settings)

    def _fit(
        self,
        plan: _Plan,
        distillation: Distillation,
        tokenizer: PreTrainedTokenizerBase,
        tokens: tuple[Dataset, Dataset | None],
        progress: Progress,
    ) -> ResumableTrainer:
        """Fit the head, then train everything; or continue from the last checkpoint."""
        settings, (train, validation) = plan.settings, tokens
        epochs = epochs_of(settings, len(train))
        _LOG.info("%s reads %d texts %d times", self.name, len(train), epochs)
        collator = Collator(tokenizer)
        checkpoints = self.work / plan.key / "checkpoints"
        trainer = ResumableTrainer(
            model=distillation,
            args=arguments(
                settings,
                checkpoints,
                -(-len(train) // settings.batch_size) * epochs,
                num_train_epochs=epochs,
                save_steps=settings.checkpoint_steps,
                # Just before each checkpoint: validation draws random numbers, which must be the same after a resume.
                eval_strategy="steps" if validation else "no",
                eval_steps=settings.checkpoint_steps,
                prediction_loss_only=True,
                # The Trainer computes a validation loss only where it sees these columns.
                label_names=distillation.supervision,
            ),
            train_dataset=train,
            eval_dataset=validation,
            data_collator=collator,
            processing_class=tokenizer,
        )
        checkpoint = first_decides(lambda: last_checkpoint(checkpoints))
        if checkpoint is None:
            fit_head(distillation.student, train, collator, distillation.loss_of)
        run(trainer, distillation.student, progress, self.name, checkpoint)
        return trainer

    def _save(self, plan: _Plan, distillation: Distillation, trainer: ResumableTrainer) -> None:
        """Save the plain student with its card, and remove what only the training needs."""
        tokenizer = trainer.processing_class
        assert isinstance(tokenizer, PreTrainedTokenizerBase)
        tokenizer.model_max_length = plan.settings.max_length  # whoever loads it reads what it was trained to read
        examples = surest_texts(self.golden, plan.facts["labels"], plan.settings.card_examples)
        card = model_card(plan.settings, plan.facts, last_losses(trainer), examples)
        save(trainer, distillation.student, self.output, plan.key, card)
        if is_first():
            files.remove([self.work / plan.key])


def training_key(settings: StudentSettings, shards: Sequence[Shard], root: Path) -> str:
    """A digest of everything that determines a student.

    Args:
        settings: The student's training, with the arithmetic settled.
        shards: The golden table's.
        root: What a relative model path is relative to.

    Raises:
        MukiError: No such pretrained model.
    """
    return canonical_key(
        {
            "version": schema.STUDENT_VERSION,
            "golden": [shard.sha256 for shard in shards],
            "student": settings.model_dump(),
        }
        | base_facts(settings, root)
    )


def epochs_of(settings: StudentSettings, texts: int) -> int:
    """How often the student reads so many texts: what `epochs: auto` stands for."""
    if settings.epochs != "auto":
        return settings.epochs
    return max(-(-_FEWEST_STEPS // max(-(-texts // settings.batch_size), 1)), _FEWEST_EPOCHS)


def _hold_out(data: Dataset, settings: StudentSettings) -> tuple[Dataset, Dataset | None]:
    """Training rows and the validation share, at least one row where a share is asked for and there are two."""
    rows = max(round(len(data) * settings.validation_share), 1) if settings.validation_share and len(data) > 1 else 0
    if not rows:
        return data, None
    parts = data.train_test_split(test_size=rows, seed=settings.seed)
    return parts["train"], parts["test"]
