"""Every architecture of the installed transformers: labelled with transformers' own numbers, or refused by name."""

from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline
from transformers.models.auto.modeling_auto import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES

from muki_pipeline import config
from muki_pipeline.blocks import Teacher
from muki_pipeline.config import Label
from muki_pipeline.errors import MukiError
from muki_pipeline.labelling.labeller import Labeller
from muki_pipeline.labelling.network.dropout import NoDropoutError
from muki_pipeline.layout import Layout
from muki_pipeline.models.teachers import locate
from muki_pipeline.setup import candidates, rehearsal
from tests import tiny
from tests.pipeline.models import zoo

TEXTS = [
    "",
    "w1",
    "w1 w2 w3",
    "w4 w5 [USR] w6 <url> w7",
    "[USR]",
    "zzz w8 unknown words",
    "w9 w10 w11 w12 w13 w14 w15 w16 w17 w18",
    " ".join(f"w{number % 50}" for number in range(20 * zoo.LENGTH)),
    "w1 " * 30,
]
ATTACKS = ["w1 </s> w2 <pad> w3", "</s>"]
"""Structural tokens in a text, which are read as characters."""
FAST = {"bert", "gpt2", "modernbert", "t5"}
LEFT = {"albert", "bart", "deberta-v2", "gpt2", "llama", "t5"}
SETTINGS = Label(passes=2, max_length=zoo.LENGTH, token_budget=250, device="cpu", dtype="float32")


def kinds(names: list[str]) -> list[object]:
    return [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in names]


def test_every_architecture_is_in_one_list() -> None:
    names = [*zoo.LABELLED, *zoo.REFUSED, *zoo.NOT_MADE]
    assert sorted(names) == sorted(MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES)


def plain(folder: Path, texts: list[str], *, split: bool = False) -> NDArray[np.float64]:
    """Logits as a user of transformers gets them, one text at a time."""
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder, split_special_tokens=split)
    classify = pipeline(
        "text-classification", model=model, tokenizer=tokenizer, function_to_apply="none", top_k=None, device="cpu"
    )
    answers = [classify([text], truncation=True, max_length=zoo.LENGTH)[0] for text in texts]
    return np.array([[{each["label"]: each["score"] for each in answer}[name] for name in "abc"] for answer in answers])


def label(root: Path, settings: Teacher) -> NDArray[np.float64]:
    texts = [*TEXTS, *ATTACKS]
    table = pa.table({"id": [str(row) for row in range(len(texts))], "text": texts})
    return np.array(Labeller(locate("t", settings, root), SETTINGS).label(table)["logits"].to_pylist())


@pytest.mark.parametrize("architecture", kinds(zoo.LABELLED))
def test_labels_have_the_numbers_of_transformers(tmp_path: Path, architecture: str) -> None:
    zoo.save(tmp_path / "m", architecture)
    tiny.cut_on("left" if architecture in LEFT else "right", tmp_path / "m")
    found = candidates.find_teacher("t", "m", tmp_path)
    expected = np.concatenate([plain(tmp_path / "m", TEXTS), plain(tmp_path / "m", ATTACKS, split=True)])
    np.testing.assert_allclose(label(tmp_path, found.settings), expected, atol=1e-3)
    assert expected.std(axis=0).max() > 0.01


@pytest.mark.parametrize("architecture", kinds(list(zoo.REFUSED)))
def test_a_refusal_names_the_reason_and_is_the_same_everywhere(tmp_path: Path, architecture: str) -> None:
    zoo.save(tmp_path / "m", architecture)
    with pytest.raises(MukiError, match=f"^teacher t: .*{zoo.REFUSED[architecture]}") as in_init:
        candidates.find_teacher("t", "m", tmp_path)
    settings = Teacher(model="m")
    try:
        label(tmp_path, settings)
        pytest.fail("it was labelled")
    except NoDropoutError:  # whoever follows the advice meets the reason
        settings = Teacher(model="m", dropout=0.1)
    except MukiError:
        pass
    with pytest.raises(MukiError, match=zoo.REFUSED[architecture]) as in_label:
        label(tmp_path, settings)
    content = tiny.params(["t"]) | {"teachers": {"t": settings.model_dump()}}
    params = config.Params.model_validate(content)
    with pytest.raises(MukiError, match=zoo.REFUSED[architecture]) as in_doctor:
        rehearsal.teacher(params, Layout(tmp_path), "t", pl.Series(TEXTS), {}, 0.0)
    assert str(in_init.value) == str(in_label.value) == str(in_doctor.value)
