from typing import Any

import pytest
import torch
from torch import Tensor, nn

from muki_pipeline.errors import MukiError
from muki_pipeline.labelling.network.dropout import MonteCarloDropout
from tests import tiny

PROBE = [1, 10, 11, 12, 2]
NO_HIDDEN_DROPOUT = {
    "bert": {"hidden_dropout_prob": 0.0},
    "roberta": {"hidden_dropout_prob": 0.0},
    "electra": {"hidden_dropout_prob": 0.0},
    "distilbert": {"dropout": 0.0, "seq_classif_dropout": 0.0},
    "deberta-v2": {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.1, "pooler_dropout": 0.0},
}


def install(architecture: str = "bert", seed: int = 0, **config: Any) -> MonteCarloDropout:
    model = tiny.model(["a", "b", "c"], architecture, **config)
    return MonteCarloDropout(model, seed=seed, teacher="t", token_ids=PROBE)


def batch() -> dict[str, Tensor]:
    ids = torch.tensor([[1, 9, 8, 7, 6, 5, 4, 2], [1, 20, 21, 22, 2, 0, 0, 0], [1, 2, 0, 0, 0, 0, 0, 0]])
    return {"input_ids": ids, "attention_mask": (ids > 0).long()}


@torch.inference_mode()
def run(dropout: MonteCarloDropout, number: int | None, inputs: dict[str, Tensor]) -> Tensor:
    if number is None:
        return dropout.logits(inputs)
    with dropout.network(number):
        return dropout.logits(inputs)


@pytest.mark.parametrize("architecture", list(tiny.ARCHITECTURES))
def test_attention_dropout_alone_makes_passes_differ(architecture: str) -> None:
    dropout = install(architecture, **NO_HIDDEN_DROPOUT[architecture])
    assert len(dropout.sites) == 2  # one in each layer's attention, nothing else
    first, second, off = (run(dropout, number, batch()) for number in (0, 1, None))
    assert (first - second).abs().max() > 1e-4
    assert (first - off).abs().max() > 1e-4


@pytest.mark.parametrize("architecture", list(tiny.ARCHITECTURES))
def test_a_text_alone_gets_what_it_gets_in_a_padded_batch(architecture: str) -> None:
    dropout = install(architecture)
    together = run(dropout, 2, batch())
    for row, length in enumerate([8, 5, 2]):
        alone = run(dropout, 2, {name: tensor[row : row + 1, :length] for name, tensor in batch().items()})
        torch.testing.assert_close(alone[0], together[row], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("architecture", list(tiny.ARCHITECTURES))
def test_without_a_pass_the_model_is_what_it_was(architecture: str) -> None:
    plain = tiny.model(["a", "b", "c"], architecture)
    dropout = install(architecture)
    run(dropout, 0, batch())
    with torch.inference_mode():
        torch.testing.assert_close(run(dropout, None, batch()), plain(**batch()).logits, atol=1e-5, rtol=1e-5)
    assert not any(module.training for module in dropout.model.modules())


def test_masked_attention_is_dropout_after_softmax() -> None:
    """The attention function against the plain formula, with the same mask."""
    dropout = install(hidden_dropout_prob=0.0, classifier_dropout=0.0)
    site = dropout.sites["bert.encoder.layer.0.attention.self"]
    seen: dict[str, Tensor] = {}
    attention = dropout.model.bert.encoder.layer[0].attention.self

    def keep(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        seen.update(hidden=inputs[0], output=output[0])

    attention.register_forward_hook(keep)
    inputs = {"input_ids": torch.tensor([[1, 9, 8, 2]]), "attention_mask": torch.ones(1, 4, dtype=torch.long)}
    with torch.inference_mode(), dropout.network(5):
        dropout.logits(inputs)
        heads = (1, 4, 2, 8)
        query, key, value = (
            projection(seen["hidden"]).view(heads).transpose(1, 2)
            for projection in (attention.query, attention.key, attention.value)
        )
        probs = torch.softmax(query @ key.transpose(-1, -2) / 8**0.5, dim=-1)
        probs = probs * dropout.masks.kept(site, (2, 4, 4), probs) / (1 - site.p)
        expected = (probs @ value).transpose(1, 2).reshape(1, 4, 16)
    torch.testing.assert_close(seen["output"], expected)


def test_shared_weights_drop_independently_in_every_layer() -> None:
    albert = install("albert", embedding_size=16, attention_probs_dropout_prob=0.1)
    names = [site.name for site in albert.sites.values() if site.kind == "attention"]
    assert len(names) == 2
    assert names[1] == f"{names[0]}#2"


class Functional(nn.Module):
    """A classifier that calls torch's functional dropout, as BART does."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(60, 4)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(self.embedding(x), p=0.5, training=self.training)


def test_functional_dropout_is_found_and_keyed() -> None:
    model = tiny.model(["a", "b", "c"], hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    model.bert.embeddings.word_embeddings = Functional()
    model.bert.embeddings.word_embeddings.embedding = nn.Embedding(60, 16)
    dropout = MonteCarloDropout(model, seed=0, teacher="t", token_ids=PROBE)
    assert [(site.kind, site.p) for site in dropout.sites.values()] == [("functional", 0.5)]
    assert not torch.equal(run(dropout, 0, batch()), run(dropout, 1, batch()))
    assert torch.equal(run(dropout, 0, batch()), run(dropout, 0, batch()))


def test_no_dropout_is_an_error_that_says_what_the_config_has() -> None:
    with pytest.raises(MukiError, match=r"'hidden_dropout_prob': 0\.0.*teachers\.t\.dropout: 0\.1"):
        install(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)


def test_dropout_that_no_mask_fits_is_an_error() -> None:
    model = tiny.model(["a", "b", "c"])
    model.bert.embeddings.dropout = nn.AlphaDropout(0.1)
    with pytest.raises(MukiError, match="AlphaDropout"):
        MonteCarloDropout(model, seed=0, teacher="t", token_ids=PROBE)


def test_average_of_a_one_layer_network_is_the_brute_force_average() -> None:
    """Dropout on the pooled vector alone: with 16 inputs at p = 1/2 all masks can be counted out."""
    dropout = install(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, classifier_dropout=0.5)
    assert list(dropout.sites) == ["dropout"]
    inputs = {name: tensor[:1] for name, tensor in batch().items()}
    with torch.inference_mode():
        pooled = dropout.model.bert(**inputs).pooler_output[0]
        masks = torch.cartesian_prod(*[torch.tensor([0.0, 2.0])] * 16)
        exact = torch.softmax(dropout.model.classifier(pooled * masks), dim=-1).mean(dim=0)
        passes = 4000
        drawn = torch.stack([torch.softmax(run(dropout, number, inputs)[0], dim=-1) for number in range(passes)])
    deviation = drawn.std(dim=0) / passes**0.5
    assert ((drawn.mean(dim=0) - exact).abs() < 4.5 * deviation).all()
