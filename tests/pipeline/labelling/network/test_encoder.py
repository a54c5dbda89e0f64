import numpy as np
import pytest
import torch

from muki_pipeline.labelling.network.dropout import MonteCarloDropout
from muki_pipeline.labelling.network.encoder import keep_pooled_position
from tests import tiny

IDS = [1, 5, 6, 7, 8, 9, 2]
INPUTS = {
    "input_ids": torch.tensor([[1, 5, 6, 7, 8, 9, 2], [1, 10, 2, 0, 0, 0, 0]]),
    "attention_mask": torch.tensor([[1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0, 0]]),
}


@torch.inference_mode()
def passes(architecture: str, *, save: bool) -> np.ndarray:
    """Logits without dropout and of two passes, `[3, texts, labels]`."""
    model = tiny.model(["a", "b", "c"], architecture, num_hidden_layers=3, n_layers=3)
    if save:
        keep_pooled_position(model, IDS)
    network = MonteCarloDropout(model, seed=0, teacher="t", token_ids=IDS)
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
