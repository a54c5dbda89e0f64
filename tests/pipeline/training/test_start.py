"""Where the student's training begins."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset
from torch import Tensor
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from muki_pipeline.config import StudentSettings
from muki_pipeline.models.heads import classifier_head, recording_features
from muki_pipeline.training.batches import Collator, tokenised
from muki_pipeline.training.start import fit_head, load_start
from muki_pipeline.training.student.losses import integration_loss
from tests import tiny

LABELS = ["apple", "pear", "oak"]


def start(root: Path, pooling: str = "mean", **settings: object) -> tuple[PreTrainedModel, Collator]:
    tiny.save_pretrained_encoder(root / "base", **settings)
    model, tokenizer = load_start(StudentSettings(model="base", max_length=16, pooling=pooling), LABELS, root)
    return model.eval(), Collator(tokenizer)


def depth(model: PreTrainedModel) -> int:
    return int(model.config.num_hidden_layers)


@pytest.mark.parametrize("architecture", ["bert", "roberta", "electra"])
def test_the_first_position_holds_the_average_of_all(tmp_path: Path, architecture: str) -> None:
    model, collator = start(tmp_path, architecture=architecture)
    assert depth(model) == tiny.SIZES["num_hidden_layers"] + 1
    batch = collator.tokenizer(["w1 w2 w3 w4 w5", "w7"], padding=True, return_tensors="pt")
    with torch.no_grad():
        hidden = model.base_model(**batch, output_hidden_states=True).hidden_states
    before, after = hidden[-2], hidden[-1]
    mask = batch["attention_mask"][..., None]
    average = (before * mask).sum(dim=1) / mask.sum(dim=1)
    norm = torch.nn.LayerNorm(before.shape[-1], eps=model.config.layer_norm_eps)
    torch.testing.assert_close(after[:, 0], norm(norm(before[:, 0] + 4 * average)), rtol=1e-4, atol=1e-4)


def test_the_student_is_an_ordinary_model(tmp_path: Path) -> None:
    model, collator = start(tmp_path)
    model.save_pretrained(tmp_path / "saved")
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path / "saved").eval()
    batch = collator.tokenizer(["w1 w2 w3"], return_tensors="pt")
    torch.testing.assert_close(again(**batch).logits, model(**batch).logits)


def test_all_of_the_new_layer_learns(tmp_path: Path) -> None:
    model, collator = start(tmp_path)
    torch.nn.init.normal_(classifier_head(model, "").get_parameter("weight"))
    model(**collator.tokenizer(["w1 w2 w3"], return_tensors="pt")).logits[0, 0].backward()
    layer = model.base_model.encoder.layer[-1]
    still = {name.rpartition(".")[0] for name, parameter in layer.named_parameters() if not parameter.grad.any()}
    # These follow after the first step, when queries and the feed-forward's output are no longer 0.
    assert still <= {"attention.self.key", "intermediate.dense"}


def test_who_keeps_the_first_position(tmp_path: Path) -> None:
    assert depth(start(tmp_path / "asked", "cls")[0]) == 2
    assert depth(start(tmp_path / "relative", architecture="deberta-v2")[0]) == 2
    tiny.save_teacher(tmp_path / "classifier", ["apple", "elm"])
    model, _ = load_start(StudentSettings(model="classifier", max_length=16), LABELS, tmp_path)
    assert depth(model) == 2


def golden(collator: Collator, texts: int = 60) -> Dataset:
    drawn = np.random.default_rng(0)
    columns = {
        "text": tiny.texts(texts, longest=9),
        "target": drawn.dirichlet(np.ones(3), texts).astype(np.float32),
        "weight": drawn.uniform(0, 2, texts).astype(np.float32),
    }
    return tokenised(columns, collator.tokenizer, 16)


def of_logits(logits: Tensor, rows: Mapping[str, Tensor]) -> Tensor:
    return integration_loss(logits, rows["target"], rows["weight"], 1.0)


@pytest.mark.parametrize("architecture", ["bert", "roberta", "distilbert", "deberta-v2"])
def test_no_other_head_is_better(tmp_path: Path, architecture: str) -> None:
    """The penalised loss has no slope at the fitted head, and it is convex."""
    model, collator = start(tmp_path, architecture=architecture)
    encoder = {name: weights.clone() for name, weights in model.state_dict().items()}
    data = golden(collator)
    fit_head(model, data, collator, of_logits)
    head = classifier_head(model, "")
    assert isinstance(head, torch.nn.Linear)
    batch = collator([data[row] for row in range(len(data))])
    with recording_features(head) as features, torch.no_grad():
        model(**{name: batch[name] for name in ("input_ids", "attention_mask")})
    value = of_logits(head(features[0]), batch) + 0.005 * head.weight.square().sum()
    value.backward()
    assert head.weight.grad is not None
    assert head.bias.grad.abs().max() < 1e-3
    assert head.weight.grad.abs().max() < 1e-3 * max(1.0, float(features[0].abs().max()))
    changed = {name for name, weights in model.state_dict().items() if not torch.equal(weights, encoder[name])}
    assert {name.rpartition(".")[2] for name in changed} == {"weight", "bias"}
    assert len(changed) == 2
    assert not model.training


def test_an_unknown_head_is_left_alone(tmp_path: Path) -> None:
    class Prototypes(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.prototypes = torch.nn.Parameter(torch.ones(3, 16))

        def forward(self, features: Tensor) -> Tensor:
            return -torch.cdist(features, self.prototypes)

    model, collator = start(tmp_path)
    model.classifier = Prototypes()
    fit_head(model, golden(collator), collator, of_logits)
    assert torch.equal(model.classifier.prototypes, torch.ones(3, 16))


def test_a_large_corpus_lends_a_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("muki_pipeline.training.start._SAMPLE", 10)
    model, collator = start(tmp_path)
    read: list[int] = []
    model.register_forward_pre_hook(
        lambda module, arguments, named: read.append(len(named["input_ids"])), with_kwargs=True
    )
    fit_head(model, golden(collator), collator, of_logits)
    assert sum(read) == 10


def test_a_head_that_reads_every_position_is_left_alone(tmp_path: Path) -> None:
    model, collator = start(tmp_path, architecture="gpt2", n_embd=16, n_layer=2, n_head=2, n_positions=66)
    before = classifier_head(model, "").get_parameter("weight").clone()
    fit_head(model, golden(collator), collator, of_logits)
    assert torch.equal(classifier_head(model, "").get_parameter("weight"), before)
