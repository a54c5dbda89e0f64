"""What a student's training does once it is planned: tokens, the head, all weights, and the finished folder."""

import logging
from collections.abc import Mapping
from typing import Any

from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from muki_pipeline.config import StudentSettings
from muki_pipeline.errors import MukiError
from muki_pipeline.layout import MAKE_GOLDEN, MAKE_STUDENT, TRAINING
from muki_pipeline.progress import Progress
from muki_pipeline.store import files, folders
from muki_pipeline.training.batches import Collator
from muki_pipeline.training.processes import first_decides, is_first
from muki_pipeline.training.saving import last_losses, save
from muki_pipeline.training.start import fit_head, load_start
from muki_pipeline.training.student.distillation import Distillation
from muki_pipeline.training.student.golden_rows import read_tokens, surest_texts, write_tokens
from muki_pipeline.training.student.losses import LOSSES
from muki_pipeline.training.student.model_card import model_card
from muki_pipeline.training.student.plan import Plan, epochs_of
from muki_pipeline.training.trainer import ResumableTrainer, arguments, last_checkpoint, run

_LOG = logging.getLogger(__name__)


def fit(plan: Plan, progress: Progress) -> dict[str, float]:
    """Train the student and save it; for result and errors see `StudentTraining.run`."""
    if plan.facts.get("loss") not in LOSSES:
        raise MukiError("was made by another version of this program", where=str(plan.golden), fix=MAKE_GOLDEN)
    student, tokenizer = load_start(plan.settings, plan.facts["labels"], plan.root)
    distillation = Distillation(student, plan.facts)
    tokens = _tokens(plan, distillation, tokenizer)
    trainer = _train(plan, distillation, tokenizer, tokens, progress)
    _save(plan, distillation, trainer)
    return last_losses(trainer)


def _tokens(
    plan: Plan, distillation: Distillation, tokenizer: PreTrainedTokenizerBase
) -> tuple[Dataset, Dataset | None]:
    """Tokenise the golden table, once; the texts to train on, and those that are held out."""
    path = plan.work / plan.key / "tokens.arrow"
    length = plan.settings.max_length
    first_decides(lambda: write_tokens(plan.golden, distillation.supervision, tokenizer, length, path))
    return _hold_out(read_tokens(path), plan.settings)


def _train(
    plan: Plan,
    distillation: Distillation,
    tokenizer: PreTrainedTokenizerBase,
    tokens: tuple[Dataset, Dataset | None],
    progress: Progress,
) -> ResumableTrainer:
    """Fit the head, then train everything; or continue from the last checkpoint."""
    settings, (train, validation) = plan.settings, tokens
    epochs = epochs_of(settings, len(train))
    _LOG.info("%s reads %d texts %d times", plan.name, len(train), epochs)
    collator = Collator(tokenizer)
    checkpoints = plan.work / plan.key / "checkpoints"
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
        fit_head(distillation.student, train, collator, distillation.loss_of, settings.precision)
    run(trainer, distillation.student, progress, plan.name, checkpoint)
    return trainer


def _save(plan: Plan, distillation: Distillation, trainer: ResumableTrainer) -> None:
    """Save the plain student with its card, and remove what only the training needs."""
    tokenizer = trainer.processing_class
    assert isinstance(tokenizer, PreTrainedTokenizerBase)
    tokenizer.model_max_length = plan.settings.max_length  # whoever loads it reads what it was trained to read
    card = _card(plan, plan.settings, last_losses(trainer))
    save(trainer, distillation.student, plan.output, plan.key, _told(plan), card)
    if is_first():
        files.remove([plan.work / plan.key])


def renew_card(plan: Plan) -> None:
    """Write the card of a finished student anew, and the settings that it tells; a card that somebody changed stays."""
    told = files.read_json(plan.output / TRAINING, MAKE_STUDENT)
    written, card = StudentSettings(**told["settings"]), plan.output / folders.CARD
    if files.exists(card) and files.read_bytes(card, MAKE_STUDENT) != _card(plan, written, told["losses"]).encode():
        _LOG.warning("%s was changed by hand, so it stays as it is: remove it to have it written anew", card)
        return
    with folders.replacing_folder(plan.output) as unfinished:
        folders.copy_files(plan.output, unfinished)
        files.write_json(unfinished / TRAINING, told | _told(plan))
        files.write_bytes(unfinished / folders.CARD, _card(plan, plan.settings, told["losses"]).encode())


def _told(plan: Plan) -> dict[str, Any]:
    """What training.json says besides key and losses."""
    return {"golden": plan.supervision, "settings": plan.settings.model_dump()}


def _card(plan: Plan, settings: StudentSettings, losses: Mapping[str, float]) -> str:
    examples = surest_texts(plan.golden, plan.facts["labels"], settings.card_examples)
    return model_card(settings, plan.facts, losses, examples)


def _hold_out(data: Dataset, settings: StudentSettings) -> tuple[Dataset, Dataset | None]:
    """Training rows and the validation share, at least one row where a share is asked for and there are two."""
    rows = max(round(len(data) * settings.validation_share), 1) if settings.validation_share and len(data) > 1 else 0
    if not rows:
        return data, None
    parts = data.train_test_split(test_size=rows, seed=settings.seed)
    return parts["train"], parts["test"]
