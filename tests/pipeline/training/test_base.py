"""What a training may start from: read at its full length, or refused before any work is spent."""

from pathlib import Path
from typing import Any

import pytest
import torch

from muki_pipeline import config
from muki_pipeline.config import StudentSettings
from muki_pipeline.errors import MukiError
from muki_pipeline.models.tokenizers import ANY_LENGTH, longest_input
from muki_pipeline.training import base
from muki_pipeline.training.base import base_reading, load_base
from tests import tiny
from tests.pipeline.models.test_hostile import T5

LABELS = ["a", "b", "c"]
XLNET = {"max_position_embeddings": None, "d_model": 16, "n_layer": 2, "n_head": 2, "d_head": 8, "d_inner": 32}


def save(root: Path, architecture: str, *, length: int = 64, **changes: Any) -> None:
    tiny.model(["LABEL_0", "LABEL_1"], architecture, **changes).save_pretrained(root / "m")
    tiny.tokenizer(length).save_pretrained(root / "m")


@pytest.mark.parametrize(
    ("architecture", "changes", "length", "limit"),
    [
        ("bert", {}, 512, 66),
        ("roberta", {}, 512, 65),
        ("bert", {}, 48, 48),
        ("gpt2", {"n_embd": 16, "n_head": 2, "n_layer": 2}, int(1e30), 66),
        ("t5", T5 | {"max_position_embeddings": -1}, int(1e30), None),
    ],
)
def test_the_longest_text_is_told_without_weights(
    tmp_path: Path, architecture: str, changes: dict[str, Any], length: int, limit: int | None
) -> None:
    save(tmp_path, architecture, length=length, **changes)
    model, tokenizer = load_base(StudentSettings(model="m", max_length=16), LABELS, tmp_path)
    assert longest_input(model, tokenizer) == limit
    (tmp_path / "m" / "model.safetensors").unlink()
    assert base_reading("m", None, tmp_path)[0] == limit


@pytest.mark.parametrize("model", ["nowhere", "acme/not-downloaded", "./none", "empty"])
def test_a_model_that_is_not_there_has_no_limit(tmp_path: Path, model: str) -> None:
    (tmp_path / "empty").mkdir()
    assert base_reading(model, None, tmp_path) == (None, None)


def test_a_text_of_any_length_can_be_asked_for(tmp_path: Path) -> None:
    save(tmp_path, "t5", length=int(1e30), **T5 | {"max_position_embeddings": -1})
    load_base(StudentSettings(model="m", max_length=ANY_LENGTH), LABELS, tmp_path)


@pytest.mark.parametrize(
    ("architecture", "changes", "message"),
    [
        ("fnet", {}, "a text's numbers depend on those beside it in a batch .* another architecture than fnet"),
        ("canine", {"num_hash_buckets": 64}, "its network cannot read texts .* another architecture than canine"),
    ],
)
def test_a_base_that_cannot_be_trained_is_refused(
    tmp_path: Path, architecture: str, changes: dict[str, Any], message: str
) -> None:
    save(tmp_path, architecture, **changes)
    with pytest.raises(MukiError, match=f"^m: {message}"):
        load_base(StudentSettings(model="m", max_length=16), LABELS, tmp_path)


def test_trying_a_base_moves_no_random_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, "bert")
    load_base(StudentSettings(model="m", max_length=16, seed=3), LABELS, tmp_path)
    after = torch.rand(3)
    monkeypatch.setattr(base, "check_reading", lambda *arguments: None)
    load_base(StudentSettings(model="m", max_length=16, seed=3), LABELS, tmp_path)
    assert torch.equal(after, torch.rand(3))


@pytest.mark.slow
def test_a_t5_is_a_student_and_the_encoder_too(tmp_path: Path) -> None:
    path = tiny.save_project(tmp_path)
    tiny.save_teacher(tmp_path / "models" / "base", ["LABEL_0", "LABEL_1"], "t5", **T5)
    tiny.finish(path)
    assert (config.load(path)[1].student / "model.safetensors").exists()
