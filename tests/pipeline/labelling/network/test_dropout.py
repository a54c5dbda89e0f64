from typing import Any

import pytest
import torch
from torch import Tensor, nn

from muki_pipeline.errors import MukiError
from muki_pipeline.labelling.network.attention import NAME
from muki_pipeline.labelling.network.masks import Masks
from muki_pipeline.labelling.network.network import Network
from tests import tiny

PROBE = [1, 10, 11, 12, 2]
NO_HIDDEN_DROPOUT = {
    "bert": {"hidden_dropout_prob": 0.0},
    "roberta": {"hidden_dropout_prob": 0.0},
    "electra": {"hidden_dropout_prob": 0.0},
    "distilbert": {"dropout": 0.0, "seq_classif_dropout": 0.0},
    "deberta-v2": {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.1, "pooler_dropout": 0.0},
}


def install(architecture: str = "bert", **config: Any) -> Network:
    return network_of(tiny.model(["a", "b", "c"], architecture, **config))


def network_of(model: Any) -> Network:
    return Network(model, torch.float32, Masks(0, "t"), PROBE)


def batch() -> dict[str, Tensor]:
    ids = torch.tensor([[1, 9, 8, 7, 6, 5, 4, 2], [1, 20, 21, 22, 2, 0, 0, 0], [1, 2, 0, 0, 0, 0, 0, 0]])
    return {"input_ids": ids, "attention_mask": (ids > 0).long()}


@pytest.mark.parametrize("architecture", list(tiny.ARCHITECTURES))
def test_attention_dropout_alone_makes_passes_differ(architecture: str) -> None:
    network = install(architecture, **NO_HIDDEN_DROPOUT[architecture])
    assert len(network.masks.sites) == 2  # one in each layer's attention, nothing else
    first, second, off = (network.forward(batch(), number) for number in (0, 1, None))
    assert (first - second).abs().max() > 1e-4
    assert (first - off).abs().max() > 1e-4


@pytest.mark.parametrize("architecture", list(tiny.ARCHITECTURES))
def test_a_text_alone_gets_what_it_gets_in_a_padded_batch(architecture: str) -> None:
    network = install(architecture)
    together = network.forward(batch(), 2)
    for row, length in enumerate([8, 5, 2]):
        alone = network.forward({name: tensor[row : row + 1, :length] for name, tensor in batch().items()}, 2)
        torch.testing.assert_close(alone[0], together[row], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("architecture", list(tiny.ARCHITECTURES))
def test_without_a_pass_the_model_is_what_it_was(architecture: str) -> None:
    plain = tiny.model(["a", "b", "c"], architecture)
    network = install(architecture)
    network.forward(batch(), 0)
    with torch.inference_mode():
        torch.testing.assert_close(network.forward(batch(), None), plain(**batch()).logits, atol=1e-5, rtol=1e-5)
    assert not any(module.training for module in network.model.modules())


def test_masked_attention_is_dropout_after_softmax() -> None:
    """The attention function against the plain formula, with the same mask."""
    network = install(hidden_dropout_prob=0.0, classifier_dropout=0.0)
    site = network.masks.sites["bert.encoder.layer.0.attention.self"]
    seen: dict[str, Tensor] = {}
    attention = network.model.bert.encoder.layer[0].attention.self

    def keep(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        seen.update(hidden=inputs[0], output=output[0])

    attention.register_forward_hook(keep)
    inputs = {"input_ids": torch.tensor([[1, 9, 8, 2]]), "attention_mask": torch.ones(1, 4, dtype=torch.long)}
    with torch.inference_mode():
        network.forward(inputs, 5)
        heads = (1, 4, 2, 8)
        query, key, value = (
            projection(seen["hidden"]).view(heads).transpose(1, 2)
            for projection in (attention.query, attention.key, attention.value)
        )
        probs = torch.softmax(query @ key.transpose(-1, -2) / 8**0.5, dim=-1)
        probs = probs * network.masks.kept(site, (2, 4, 4), probs) / (1 - site.p)
        expected = (probs @ value).transpose(1, 2).reshape(1, 4, 16)
    torch.testing.assert_close(seen["output"], expected)


def test_shared_weights_drop_independently_in_every_layer() -> None:
    albert = install("albert", embedding_size=16, attention_probs_dropout_prob=0.1)
    names = [site.name for site in albert.masks.sites.values() if site.kind == "attention"]
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
    network = network_of(model.eval())
    assert [(site.kind, site.p) for site in network.masks.sites.values()] == [("functional", 0.5)]
    assert not torch.equal(network.forward(batch(), 0), network.forward(batch(), 1))
    assert torch.equal(network.forward(batch(), 0), network.forward(batch(), 0))


def test_no_dropout_is_an_error_that_says_what_the_config_has() -> None:
    with pytest.raises(MukiError, match=r"'hidden_dropout_prob': 0\.0.*teachers\.t\.dropout: 0\.1"):
        install(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)


def test_dropout_that_no_mask_fits_is_an_error() -> None:
    model = tiny.model(["a", "b", "c"])
    model.bert.embeddings.dropout = nn.AlphaDropout(0.1)
    with pytest.raises(MukiError, match="AlphaDropout"):
        network_of(model)


def test_a_network_that_depends_on_its_attention_function_is_refused() -> None:
    model = tiny.model(["a", "b", "c"])
    forward = model.bert.pooler.forward
    model.bert.pooler.forward = lambda hidden: forward(hidden) * (2 if model.config._attn_implementation == NAME else 1)
    with pytest.raises(MukiError, match="keyed dropout it computes other numbers"):
        network_of(model)


def test_average_of_a_one_layer_network_is_the_brute_force_average() -> None:
    """Dropout on the pooled vector alone: with 16 inputs at p = 1/2 all masks can be counted out."""
    network = install(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, classifier_dropout=0.5)
    assert list(network.masks.sites) == ["dropout"]
    inputs = {name: tensor[:1] for name, tensor in batch().items()}
    with torch.inference_mode():
        pooled = network.model.bert(**inputs).pooler_output[0]
        masks = torch.cartesian_prod(*[torch.tensor([0.0, 2.0])] * 16)
        exact = torch.softmax(network.model.classifier(pooled * masks), dim=-1).mean(dim=0)
        passes = 4000
        drawn = torch.stack([torch.softmax(network.forward(inputs, number)[0], dim=-1) for number in range(passes)])
    deviation = drawn.std(dim=0) / passes**0.5
    assert ((drawn.mean(dim=0) - exact).abs() < 4.5 * deviation).all()
