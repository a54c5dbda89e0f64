"""LoRA adapters as teachers: what PEFT computes, with the base's dropout."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel, PrefixTuningConfig, TaskType, get_peft_model
from transformers import AutoModelForSequenceClassification

from muki_pipeline.blocks import Teacher
from muki_pipeline.config import Label
from muki_pipeline.errors import MukiError
from muki_pipeline.labelling.labeller import Labeller
from muki_pipeline.models.teachers import TeacherFiles, locate
from tests import tiny

LABELS = ["a", "b", "c"]
TEXTS = ["w1 w2 w3", "w4", "w5 w6"]
SETTINGS = Label(passes=2, max_length=20, device="cpu", dtype="float32")


def save_adapter(root: Path, architecture: str = "bert", **config: Any) -> PeftModel:
    """A base model with another head, and an adapter of it with three labels."""
    tiny.save_teacher(root / "base", ["LABEL_0", "LABEL_1"], architecture)
    model = AutoModelForSequenceClassification.from_pretrained(
        root / "base", num_labels=3, ignore_mismatched_sizes=True
    )
    torch.manual_seed(1)
    settings = LoraConfig(task_type=TaskType.SEQ_CLS, r=4, lora_alpha=16, init_lora_weights=False, **config)
    adapted = get_peft_model(model, settings).eval()
    adapted.save_pretrained(root / "adapter")
    return adapted


def teacher(root: Path, **settings: Any) -> TeacherFiles:
    return locate("t", Teacher(model="adapter", **{"labels": LABELS, **settings}), root)


@pytest.mark.parametrize("architecture", ["bert", "roberta", "distilbert"])
def test_an_adapter_answers_as_peft_does(tmp_path: Path, architecture: str) -> None:
    targets = {"distilbert": ["q_lin", "v_lin"]}.get(architecture, ["query", "value"])
    adapted = save_adapter(tmp_path, architecture, target_modules=targets, use_dora=architecture == "bert")
    labeller = Labeller(teacher(tmp_path), SETTINGS)
    labeller.rehearse()
    inputs = tiny.tokenizer()(TEXTS, return_tensors="pt", padding=True)
    if architecture == "distilbert":
        inputs.pop("token_type_ids", None)
    with torch.inference_mode():
        expected = adapted(**inputs).logits.numpy()
    np.testing.assert_allclose(labeller.logits(TEXTS), expected, atol=1e-4)
    assert labeller.provenance["dropout"]


def test_base_and_adapter_are_in_the_digest(tmp_path: Path) -> None:
    save_adapter(tmp_path)
    first = teacher(tmp_path).digest
    shutil.copytree(tmp_path / "base", tmp_path / "elsewhere")
    shutil.copytree(tmp_path / "base", tmp_path / "else@where")
    assert teacher(tmp_path, base="elsewhere").digest == teacher(tmp_path, base="else@where").digest == first
    tiny.save_teacher(tmp_path / "elsewhere", ["LABEL_0", "LABEL_1"], seed=5)
    assert teacher(tmp_path, base="elsewhere").digest != first
    save_adapter(tmp_path, target_modules=["key"])
    assert teacher(tmp_path).digest != first


def test_pickled_weights_are_in_the_digest_where_they_are_read(tmp_path: Path) -> None:
    save_adapter(tmp_path)
    safe = teacher(tmp_path, allow_pickle_weights=True).digest
    pickled = tmp_path / "adapter" / "adapter_model.bin"
    pickled.write_bytes(b"not read")
    assert teacher(tmp_path, allow_pickle_weights=True).digest == safe
    (tmp_path / "adapter" / "adapter_model.safetensors").unlink()
    digests = set()
    for content in (b"trained", b"trained again"):
        pickled.write_bytes(content)
        digests.add(teacher(tmp_path, allow_pickle_weights=True).digest)
    assert len(digests) == 2


def change(root: Path, **values: Any) -> None:
    path = root / "adapter" / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_what_cannot_be_used_is_refused_by_its_name(tmp_path: Path) -> None:
    save_adapter(tmp_path)
    with pytest.raises(MukiError, match=r"without a config\.json that names its labels.*teachers\.t\.labels"):
        teacher(tmp_path, labels=None)
    with pytest.raises(MukiError, match="labels occur more than once: 'a'"):
        teacher(tmp_path, labels=["a", "a", "b"])
    with pytest.raises(MukiError, match=r"its adapter does not fit the base model.*teachers\.NAME\.labels"):
        Labeller(teacher(tmp_path, labels=["a", "b"]), SETTINGS).rehearse()
    tiny.save_teacher(tmp_path / "wide", LABELS, hidden_size=32)
    with pytest.raises(MukiError, match="its adapter does not fit the base model"):
        Labeller(teacher(tmp_path, base="wide"), SETTINGS).rehearse()
    with pytest.raises(MukiError, match=r"is an adapter of \./gone, which is no folder here"):
        teacher(tmp_path, base="./gone")
    change(tmp_path, base_model_name_or_path="acme/base")
    with pytest.raises(MukiError, match=r"is an adapter of acme/base, .*not pinned.*teachers\.NAME\.base"):
        teacher(tmp_path)
    change(tmp_path, base_model_name_or_path=None)
    with pytest.raises(MukiError, match="does not name its base model"):
        teacher(tmp_path)
    (tmp_path / "adapter" / "adapter_model.safetensors").rename(tmp_path / "adapter" / "adapter_model.bin")
    with pytest.raises(MukiError, match=r"is an adapter without adapter_model\.safetensors"):
        teacher(tmp_path, base="base")


def test_an_adapter_without_a_head_is_refused(tmp_path: Path) -> None:
    save_adapter(tmp_path)
    path = tmp_path / "adapter" / "adapter_model.safetensors"
    from safetensors.torch import load_file, save_file

    save_file({name: weights for name, weights in load_file(path).items() if "classifier" not in name}, path)
    with pytest.raises(MukiError, match=r"its weights lack 'classifier\.bias', 'classifier\.weight'"):
        Labeller(teacher(tmp_path), SETTINGS).rehearse()


def test_a_pickled_adapter_without_a_head_is_refused_too(tmp_path: Path) -> None:
    save_adapter(tmp_path)
    path = tmp_path / "adapter" / "adapter_model.safetensors"
    from safetensors.torch import load_file

    weights = load_file(path)
    path.unlink()
    torch.save(weights, path.with_suffix(".bin"))
    Labeller(teacher(tmp_path, allow_pickle_weights=True), SETTINGS).rehearse()
    headless = {name: each for name, each in weights.items() if "classifier" not in name}
    torch.save(headless, path.with_suffix(".bin"))
    with pytest.raises(MukiError, match=r"its weights lack 'classifier\.bias', 'classifier\.weight'"):
        Labeller(teacher(tmp_path, allow_pickle_weights=True), SETTINGS).rehearse()


def test_an_adapter_of_many_labels_at_once_or_of_one_is_refused(tmp_path: Path) -> None:
    save_adapter(tmp_path)
    with pytest.raises(MukiError, match="it has only one label"):
        teacher(tmp_path, labels=["a"])
    config = json.loads((tmp_path / "base" / "config.json").read_text())
    labels = {str(number): label for number, label in enumerate(LABELS)}
    config |= {"problem_type": "multi_label_classification", "id2label": labels}
    (tmp_path / "adapter" / "config.json").write_text(json.dumps(config))
    with pytest.raises(MukiError, match="it is trained for multi_label_classification"):
        teacher(tmp_path, labels=None)


def test_a_prefix_is_refused(tmp_path: Path) -> None:
    tiny.save_teacher(tmp_path / "base", LABELS)
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "base")
    get_peft_model(model, PrefixTuningConfig(task_type=TaskType.SEQ_CLS, num_virtual_tokens=4)).save_pretrained(
        tmp_path / "adapter"
    )
    with pytest.raises(MukiError, match="PREFIX_TUNING, which cannot be merged"):
        teacher(tmp_path)
