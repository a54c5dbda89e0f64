from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForSequenceClassification as Classifier
from transformers import AutoTokenizer, BartConfig, BartForSequenceClassification, PreTrainedModel, RobertaConfig

from muki_pipeline.training.batches import Collator, tokenised
from muki_pipeline.training.vocabulary import occurring_tokens
from tests import tiny

TEXTS = ["w1 w2 w3", "w2 w9", "w1 w1 w1 w30"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny.save_teacher(tmp_path / "base", ["a", "b"], seed=1, initializer_range=0.1)


def read(folder: Path, texts: list[str]) -> tuple[Any, Dataset, dict[str, torch.Tensor]]:
    """The tokenizer, the texts as a data set, and as a batch."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    data = tokenised({"text": texts, "labels": [0, 1, 1]}, tokenizer, 16)
    batch = Collator(tokenizer)([data[number] for number in range(len(texts))])
    return tokenizer, data, batch


def step(model: PreTrainedModel, batch: dict[str, torch.Tensor], steps: int = 3) -> list[float]:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.0)
    model.eval()  # no dropout: both ways must compute the same
    losses = []
    for _ in range(steps):
        loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    return losses


def test_a_training_with_the_occurring_tokens_is_the_training_with_all(folder: Path) -> None:
    tokenizer, data, batch = read(folder, TEXTS)
    whole, part = (Classifier.from_pretrained(folder) for _ in range(2))
    before = part.get_input_embeddings().weight.detach().clone()
    expected = step(whole, batch)
    with occurring_tokens(part, tokenizer, [data]):
        rows = part.get_input_embeddings().num_embeddings
        losses = step(part, batch)
    assert rows == len({int(token) for token in batch["input_ids"].flatten()} | set(tokenizer.all_special_ids))
    assert rows < len(before)
    assert losses == pytest.approx(expected, rel=1e-5)
    assert losses[-1] < losses[0]
    for (name, one), (_, other) in zip(whole.named_parameters(), part.named_parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5, msg=name)
    after = part.get_input_embeddings().weight.detach()
    seen = torch.zeros(len(before), dtype=torch.bool)
    seen[batch["input_ids"].flatten()] = True
    assert torch.equal(after[~seen], before[~seen])
    assert not torch.equal(after[tokenizer.convert_tokens_to_ids("w1")], before[tokenizer.convert_tokens_to_ids("w1")])


def test_other_tokens_are_no_other_tokens_embedding(folder: Path) -> None:
    tokenizer, data, _ = read(folder, TEXTS)
    model = Classifier.from_pretrained(folder)
    with occurring_tokens(model, tokenizer, [data]), pytest.raises(IndexError):
        model(**tokenizer("w4", return_tensors="pt"))
    model(**tokenizer("w4", return_tensors="pt"))


def test_held_out_texts_keep_their_tokens(folder: Path) -> None:
    tokenizer, data, batch = read(folder, TEXTS)
    held_out = data.train_test_split(test_size=1, seed=0)
    model = Classifier.from_pretrained(folder)
    with occurring_tokens(model, tokenizer, held_out.values()):
        assert model(**batch).logits.isfinite().all()


def test_positions_of_a_model_that_counts_them_by_padding_stay(folder: Path) -> None:
    """RoBERTa tells padding by its token number, so token numbers must stay as they are."""
    tokenizer, data, batch = read(folder, TEXTS)
    roberta = RobertaConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    model = Classifier.from_config(roberta).eval()
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    expected = model(**inputs).logits
    with occurring_tokens(model, tokenizer, [data]):
        assert model.get_input_embeddings().num_embeddings < len(tokenizer)
        assert torch.equal(model(**inputs).logits, expected)


def test_a_table_that_encoder_and_decoder_share_is_left_alone(folder: Path) -> None:
    tokenizer, data, _ = read(folder, TEXTS)
    shape = BartConfig(
        vocab_size=len(tokenizer), d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16,
    )  # fmt: skip
    model = BartForSequenceClassification(shape)
    table = model.get_input_embeddings()
    with occurring_tokens(model, tokenizer, [data]):
        assert model.get_input_embeddings() is table
