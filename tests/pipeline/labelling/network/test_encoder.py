import numpy as np
import pytest
import torch

from muki_pipeline.labelling.network.dropout import MonteCarloDropout
from muki_pipeline.labelling.network.encoder import keep_pooled_position, layer_stack
from tests import tiny

IDS = [1, 5, 6, 7, 8, 9, 2]
INPUTS = {
    "input_ids": torch.tensor([[1, 5, 6, 7, 8, 9, 2], [1, 10, 2, 0, 0, 0, 0]]),
    "attention_mask": torch.tensor([[1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0, 0]]),
}


@torch.inference_mode()
def passes(architecture: str, *, save: bool, layers: int | None = None) -> np.ndarray:
    """Logits without dropout and of two passes, `[3, texts, labels]`."""
    model = tiny.model(["a", "b", "c"], architecture, num_hidden_layers=3, n_layers=3)
    if save:
        keep_pooled_position(model, IDS)
    network = MonteCarloDropout(model, seed=0, teacher="t", token_ids=IDS, layers=layers)
    logits = [network.logits(INPUTS)]
    for number in range(2):
        with network.network(number):
            logits.append(network.logits(INPUTS))
    return torch.stack(logits).numpy()


@pytest.mark.parametrize(
    ("architecture", "saves"),
    [
        ("bert", True),
        ("roberta", True),
        ("electra", True),
        ("deberta-v2", True),
        ("distilbert", False),
        ("gpt2", False),
    ],
)
def test_where_only_the_first_position_is_read_the_others_are_saved(architecture: str, saves: bool) -> None:
    assert keep_pooled_position(tiny.model(["a", "b"], architecture), IDS) == saves


@pytest.mark.parametrize("architecture", ["bert", "roberta", "electra", "deberta-v2"])
def test_the_saving_is_exact(architecture: str) -> None:
    np.testing.assert_allclose(passes(architecture, save=True), passes(architecture, save=False), atol=1e-6, rtol=1e-6)


def test_a_head_that_reads_every_position_keeps_them() -> None:
    model = tiny.model(["a", "b"])
    model.bert.pooler = torch.nn.Module()
    model.bert.pooler.forward = lambda hidden: hidden.mean(dim=1)
    with torch.inference_mode():
        before = model(**INPUTS).logits
        assert not keep_pooled_position(model, IDS)
        torch.testing.assert_close(model(**INPUTS).logits, before)


@pytest.mark.parametrize("architecture", sorted(tiny.ARCHITECTURES))
@torch.inference_mode()
def test_going_on_from_the_prefix_is_the_whole_pass(architecture: str) -> None:
    model = tiny.model(["a", "b", "c"], architecture, num_hidden_layers=3, n_layers=3)
    network = MonteCarloDropout(model, seed=0, teacher="t", token_ids=IDS, layers=1)
    assert network.prefix is not None
    _, prefix_output = network.forward(INPUTS)
    for number in range(2):
        with network.network(number):
            torch.testing.assert_close(network.forward(INPUTS, prefix_output)[0], network.logits(INPUTS))
    stack = layer_stack(model)
    assert stack is not None
    name, layers = stack
    assert len(layers) == 3
    assert {site.split(f"{name}.")[1][0] for site in network.sites if name in site} == {"2"}


def test_the_prefix_does_not_run_again() -> None:
    model = tiny.model(["a", "b", "c"], num_hidden_layers=3)
    network = MonteCarloDropout(model, seed=0, teacher="t", token_ids=IDS, layers=1)
    assert network.prefix is not None
    _, prefix_output = network.forward(INPUTS)
    model.bert.encoder.layer[0].attention.output.dense.weight.data.fill_(float("nan"))
    with network.network(0), torch.inference_mode():
        assert network.forward(INPUTS, prefix_output)[0].isfinite().all()
        assert not network.logits(INPUTS).isfinite().all()
