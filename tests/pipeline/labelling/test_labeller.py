import functools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from muki_pipeline.blocks import Teacher
from muki_pipeline.config import Label
from muki_pipeline.errors import MukiError
from muki_pipeline.labelling.labeller import Labeller
from muki_pipeline.models.devices import choose_device
from muki_pipeline.models.teachers import locate
from muki_pipeline.routing.confidence import entropy
from tests import tiny

TEXTS = [*tiny.texts(24, seed=5), "", "w1", "w1"]
SETTINGS = Label(passes=8, max_length=20, token_budget=150, device="cpu", dtype="float32")


@functools.cache
def labeller(**changes: Any) -> Labeller:
    root = Path(tempfile.mkdtemp())
    tiny.save_teacher(root / "m", ["a", "b", "c"])
    return Labeller(locate("t", Teacher(model="m"), root), SETTINGS.model_copy(update=changes))


def label(texts: list[str], **changes: Any) -> pl.DataFrame:
    table = pa.table({"id": [str(number) for number in range(len(texts))], "text": texts})
    return pl.DataFrame(pl.from_arrow(labeller(**changes).label(table)))


@functools.cache
def reference() -> pl.DataFrame:
    return label(TEXTS)


def assert_same(left: pl.DataFrame, right: pl.DataFrame) -> None:
    for name in ("probs", "logits", "entropy", "expected_entropy"):
        np.testing.assert_allclose(left[name].to_numpy(), right[name].to_numpy(), atol=1e-5, err_msg=name)
    assert left["tokens"].equals(right["tokens"])


@settings(deadline=None, max_examples=25)
@given(st.permutations(range(len(TEXTS))), st.integers(1, len(TEXTS)), st.sampled_from([1, 25, 60, 150, 10_000]))
def test_numbers_depend_on_neither_order_nor_shard_nor_batch(order: list[int], rows: int, budget: int) -> None:
    chosen = order[:rows]
    labels = label([TEXTS[row] for row in chosen], token_budget=budget)
    assert_same(labels, reference()[chosen])


@pytest.mark.parametrize("row", range(len(TEXTS)))
def test_a_text_alone_gets_the_same_numbers(row: int) -> None:
    assert_same(label([TEXTS[row]]), reference()[[row]])


def test_pass_k_of_8_is_pass_k_of_16() -> None:
    """The sums over 16 passes less those over 8 are passes 8 to 15: with K = 16 nothing of the first 8 changed."""
    eight, sixteen = label(TEXTS), label(TEXTS, passes=16)
    whole = labeller(passes=16)
    ids = dict(whole.tokenizer(TEXTS[0], truncation=True, max_length=20, return_tensors="pt"))
    later = [torch.softmax(whole.network.forward(ids, number), dim=-1)[0].numpy() for number in range(8, 16)]
    rest = sixteen["probs"].to_numpy()[0] * 16 - eight["probs"].to_numpy()[0] * 8
    np.testing.assert_allclose(rest, np.sum(later, axis=0), atol=1e-4)


def test_columns_are_what_they_claim_to_be() -> None:
    frame = reference()
    assert frame.schema == {
        "id": pl.String,
        "probs": pl.Array(pl.Float32, 3),
        "logits": pl.Array(pl.Float32, 3),
        "entropy": pl.Float32,
        "expected_entropy": pl.Float32,
        "tokens": pl.Int32,
        "truncated": pl.Boolean,
    }
    probs = frame["probs"].to_numpy()
    np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(frame["entropy"].to_numpy(), entropy(probs), atol=1e-6)
    assert (frame["expected_entropy"] < frame["entropy"]).all()
    plain = tiny.model(["a", "b", "c"])
    ids = tiny.tokenizer()(TEXTS[3], truncation=True, max_length=20, return_tensors="pt")
    with torch.inference_mode():
        np.testing.assert_allclose(frame["logits"].to_numpy()[3], plain(**ids).logits[0], atol=1e-5)
    assert frame["truncated"].to_list() == [len(text.split()) > 18 for text in TEXTS]
    assert frame["tokens"].to_list() == [min(len(text.split()) + 2, 20) for text in TEXTS]


def test_dropout_of_almost_nothing_gives_almost_no_mutual_information(tmp_path: Path) -> None:
    tiny.save_teacher(tmp_path / "m", ["a", "b", "c"])
    files = locate("t", Teacher(model="m", dropout=1e-7), tmp_path)
    table = pa.table({"id": ["0"], "text": ["w1 w2"]})
    with pytest.raises(MukiError, match="two dropout passes gave the same numbers"):
        Labeller(files, SETTINGS).label(table)
    plain = reference()
    np.testing.assert_array_less(0, (plain["entropy"] - plain["expected_entropy"]).to_numpy())


def test_logits_that_are_not_finite_stop_with_the_ids(tmp_path: Path) -> None:
    model = tiny.model(["a", "b", "c"])
    with torch.no_grad():
        model.bert.embeddings.word_embeddings.weight[tiny.VOCABULARY["w7"]] = float("nan")
    model.save_pretrained(tmp_path / "m")
    tiny.tokenizer().save_pretrained(tmp_path / "m")
    broken = Labeller(locate("t", Teacher(model="m"), tmp_path), SETTINGS)
    table = pa.table({"id": ["x", "y", "z"], "text": ["w1", "w2 w7", "w3"]})
    with pytest.raises(MukiError, match=r"NaN or infinite without dropout for 1 texts: 'y'"):
        broken.label(table)


def test_a_network_whose_texts_see_each_other_is_refused(tmp_path: Path) -> None:
    tiny.save_teacher(tmp_path / "m", ["a", "b", "c"])
    mixing = Labeller(locate("t", Teacher(model="m"), tmp_path), SETTINGS)
    mixing.network.model.classifier.register_forward_hook(lambda module, inputs, output: output - output.mean(dim=0))
    table = pa.table({"id": ["x", "y", "z"], "text": ["w1 w9 w9", "w2 w7", "w3"]})
    with pytest.raises(MukiError, match="logits depend on its batch"):
        mixing.label(table)


@pytest.mark.parametrize("is_packed", [True, False])
def test_bfloat16_stays_near_float32(is_packed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not is_packed:  # as on processors that cannot multiply it, and on GPUs
        monkeypatch.setattr("muki_pipeline.labelling.network.packed._supported", lambda dtype: False)
    low = label(TEXTS, dtype="bfloat16")
    np.testing.assert_allclose(low["probs"].to_numpy(), reference()["probs"].to_numpy(), atol=0.05)
    np.testing.assert_allclose(low["probs"].to_numpy().sum(axis=1), 1, atol=1e-6)


def test_a_device_that_is_not_there_is_refused() -> None:
    assert choose_device("cpu").type == "cpu"
    with pytest.raises(MukiError, match=r"label\.device: there is no cuda:63"):
        choose_device("cuda:63")
