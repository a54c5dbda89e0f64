import pytest
import torch

from muki_pipeline.labelling.network import pooled
from tests import tiny
from tests.pipeline.labelling.network.passes import passes, plain, stay

SAVES = ["bert", "roberta", "electra", "deberta-v2"]


@pytest.mark.parametrize("architecture", SAVES)
def test_the_saving_is_exact(architecture: str) -> None:
    whole, saved = (tiny.model(["a", "b", "c"], architecture, num_hidden_layers=3) for _ in range(2))
    torch.testing.assert_close(passes(saved, pooled), passes(whole), atol=1e-6, rtol=1e-6)


def test_the_other_positions_are_saved() -> None:
    model = tiny.model(["a", "b"])
    assert stay(model, pooled)
    seen: list[torch.Size] = []
    model.bert.encoder.layer[-1].output.register_forward_hook(lambda module, inputs, output: seen.append(output.shape))
    plain(model)
    assert seen == [(2, 1, 16)]


@pytest.mark.parametrize("architecture", ["distilbert", "gpt2"])
def test_other_architectures_stay_as_they_are(architecture: str) -> None:
    model = tiny.model(["a", "b"], architecture)
    model.config.pad_token_id = 0
    assert not stay(model, pooled)


def test_a_head_that_reads_every_position_keeps_them() -> None:
    model = tiny.model(["a", "b"])
    model.bert.pooler = torch.nn.Module()
    model.bert.pooler.forward = lambda hidden: hidden.mean(dim=1)
    before = plain(model)
    assert not stay(model, pooled)
    assert torch.equal(plain(model), before)
