"""What is trained: the student together with its loss, and with the layers of a loss that has layers."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from muki_pipeline.models.heads import classifier_head, recording_features
from muki_pipeline.store import schema
from muki_pipeline.training.student.dropout import CheapDropout
from muki_pipeline.training.student.losses import LOSSES


class Distillation(nn.Module):
    """The student and its loss as one module, which the Trainer trains, saves in checkpoints and resumes.

    The student stays a plain model of its architecture, to be saved without the rest.

    Args:
        student: The student.
        facts: The golden table's manifest, which names the loss.

    Attributes:
        supervision: The golden table's columns that the loss reads.
    """

    accepts_loss_kwargs = False
    """Read by the Trainer: the loss is a mean over its batch."""

    def __init__(self, student: PreTrainedModel, facts: Mapping[str, Any]) -> None:
        super().__init__()
        self.student, self.config = student, student.config  # the Trainer reads the config
        self.loss, self.temperature = LOSSES[facts["loss"]], facts["temperature"]
        self.columns = [teacher["columns"] for teacher in facts["teachers"].values()]
        self.supervision = [self.loss.targets, "weight"]
        self.alignment: nn.Module | None = None
        if self.loss.alignment is not None:
            self.supervision.append(schema.TEACHER_FEATURES.name)
            self.widths: list[int] = list(facts["feature_widths"])
            width = classifier_head(student, "student.model").get_parameter("weight").shape[1]
            self.alignment = self.loss.alignment(width, self.widths)
        self.register_state_dict_post_hook(_untie)  # type: ignore[no-untyped-call]  # torch leaves it unannotated

    def forward(self, **batch: Tensor) -> dict[str, Tensor]:
        """The `loss` of a batch: the student's inputs, and the supervision of these texts."""
        rows = {name: batch.pop(name) for name in self.supervision}
        if self.alignment is None:
            return {"loss": self.loss_of(self.logits(batch), rows)}
        with recording_features(classifier_head(self.student, "student.model")) as features:
            loss = self.loss_of(self.logits(batch), rows)
        theirs = torch.split(rows[schema.TEACHER_FEATURES.name], self.widths, dim=-1)
        with torch.autocast(loss.device.type, enabled=False):
            return {"loss": loss + self.alignment(features[0].float(), theirs)}

    def logits(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """The student's logits `[texts, labels]`, in training with dropout."""
        with CheapDropout():
            logits: Tensor = self.student(**inputs).logits
        return logits

    def loss_of(self, logits: Tensor, rows: Mapping[str, Tensor]) -> Tensor:
        """The loss of logits `[texts, labels]`, of features apart, given the supervision of these texts."""
        return self.loss.compute(logits, rows[self.loss.targets], self.columns, rows["weight"], self.temperature)


def _untie(module: nn.Module, state: dict[str, Any], prefix: str, metadata: Mapping[str, Any]) -> None:
    """Copies of all weights: safetensors refuses those that a student uses in two places and that are one tensor."""
    for name, value in state.items():
        state[name] = value.to("cpu", copy=True, memory_format=torch.contiguous_format)
