"""Folders that are no text classifier say what they are; what belongs to a model is told by one rule."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from huggingface_hub.utils import filter_repo_objects
from safetensors.torch import load_file, save_file
from transformers import AutoModelForQuestionAnswering, AutoModelForTokenClassification

from muki_pipeline import config
from muki_pipeline.blocks import Teacher
from muki_pipeline.config import Embed, StudentSettings
from muki_pipeline.embedding.encoder import find_encoder
from muki_pipeline.errors import MukiError
from muki_pipeline.models import locations
from muki_pipeline.models.loaded.teacher import load
from muki_pipeline.models.teachers import locate
from muki_pipeline.training.base import load_base
from muki_pipeline.training.base_files import base_digest
from tests import tiny

CPU = torch.device("cpu")
DECODER: dict[str, Any] = {"num_key_value_heads": 2, "attention_dropout": 0.1}


def change_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


def only(folder: Path, **files: str) -> None:
    """The folder without its weights, and with these files (`a__b` for `a.b`)."""
    (folder / "model.safetensors").unlink()
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(content)


def adapter(folder: Path) -> None:
    only(folder, adapter_config__json='{"base_model_name_or_path": "acme/base"}', adapter_model__safetensors="x")
    (folder / "config.json").unlink()


def merged_beside_adapter(folder: Path) -> None:
    (folder / "adapter_config.json").write_text("{}")


def checkpoints(folder: Path) -> None:
    for step in (500, 1500, 1000):
        shutil.copytree(folder, folder.parent / f"checkpoint-{step}")
    shutil.rmtree(folder)
    folder.mkdir()
    for step in (500, 1500, 1000):
        shutil.move(folder.parent / f"checkpoint-{step}", folder)


def models_within(folder: Path) -> None:
    shutil.copytree(folder, folder.parent / "copy")
    shutil.rmtree(folder)
    shutil.move(folder.parent / "copy", folder / "final")


def emptied(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def prefixed(prefix: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "model.safetensors"
        state = {f"{prefix}{name}": weights for name, weights in load_file(path).items()}
        save_file(state, path, metadata={"format": "pt"})

    return change


def a_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("a zip, say")


ANY: dict[str, tuple[Callable[[Path], None], str]] = {
    "adapter": (adapter, "adapter of acme/base, "),
    "adapter beside a model": (merged_beside_adapter, "adapter (of an unnamed|that does not name its base) model"),
    "checkpoints": (checkpoints, r"only checkpoints of a training\. Name the newest of them, .*/checkpoint-1500"),
    "models within": (models_within, r"a folder with models in it\. Name one of them, say .*/final"),
    "empty": (emptied, "is an empty folder"),
    "ONNX": (lambda folder: only(folder, model__onnx="x"), r"holds an ONNX export \('model.onnx'\).*PyTorch model"),
    "TensorFlow": (lambda folder: only(folder, tf_model__h5="x"), "weights for TensorFlow or Flax .*from_tf=True"),
    "Flax": (lambda folder: only(folder, flax_model__msgpack="x"), "weights for TensorFlow or Flax .*from_flax"),
    "GGUF": (lambda folder: only(folder, q4__gguf="x"), "an export for another runtime"),
    "Lightning": (lambda folder: only(folder, last__ckpt="x"), "only files of another program .*save_pretrained"),
    "pickles": (lambda folder: only(folder, pytorch_model__bin="x"), "no weights in safetensors .*only pickled ones"),
    "no weights": (lambda folder: only(folder), "no weights in safetensors in"),
    "no config": (lambda folder: (folder / "config.json").unlink(), r"holds weights, but no config\.json"),
    "DataParallel": (prefixed("module."), r"a wrapper's prefix, module\..*removeprefix\(PREFIX\)"),
    "torch.compile": (prefixed("_orig_mod."), r"a wrapper's prefix, _orig_mod\..*removeprefix\(PREFIX\)"),
    "a file": (a_file, "is a file, not a model's folder"),
}


@pytest.mark.parametrize("case", ANY)
def test_a_folder_that_is_no_model_says_what_it_is(tmp_path: Path, case: str) -> None:
    change, message = ANY[case]
    change(tiny.save_teacher(tmp_path / "m", ["a", "b"]))
    with pytest.raises(MukiError, match=message):
        locate("t", Teacher(model="m"), tmp_path)
    with pytest.raises(MukiError, match=message):
        load_base(StudentSettings(model="m"), ["a", "b"], tmp_path)
    with pytest.raises(MukiError, match=message):
        find_encoder(params(tmp_path, Embed(model="m")), tmp_path)


def params(root: Path, embed: Embed) -> config.Params:
    content = tiny.params(["one"])
    return config.Params.model_validate(content).model_copy(update={"embed": embed})


def save_as(folder: Path, kind: Any, architecture: str = "bert", **changes: Any) -> None:
    """Another model of the same encoder, beside the same tokenizer."""
    tiny.save_teacher(folder, ["a", "b"], architecture, **changes)
    kind.from_pretrained(folder).save_pretrained(folder)
    change_config(folder, id2label={"0": "a", "1": "b"}, label2id={"a": 0, "b": 1})


TASKS = {"tokens": AutoModelForTokenClassification, "question": AutoModelForQuestionAnswering}


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(
    ("architecture", "changes"),
    [("bert", {}), ("modernbert", {}), ("llama", DECODER), ("qwen2", DECODER)],
)
def test_a_model_for_another_task_is_refused(
    tmp_path: Path, architecture: str, changes: dict[str, Any], task: str
) -> None:
    save_as(tmp_path / "m", TASKS[task], architecture, **changes)
    with pytest.raises(MukiError, match=r"is a model for another task .*, not a text classifier"):
        locate("t", Teacher(model="m"), tmp_path)


def test_weights_tell_where_the_config_does_not(tmp_path: Path) -> None:
    save_as(tmp_path / "m", AutoModelForTokenClassification)
    change_config(tmp_path / "m", architectures=None)
    with pytest.raises(MukiError, match=r"teacher t: its weights lack 'bert\.pooler"):
        load(locate("t", Teacher(model="m"), tmp_path), 16, CPU)


def test_a_sentence_encoder_is_no_classifier(tmp_path: Path) -> None:
    folder = tiny.save_teacher(tmp_path / "m", ["a", "b"])
    (folder / "modules.json").write_text("[]")
    locate("t", Teacher(model="m"), tmp_path)  # a cross-encoder's folder may have one too
    change_config(folder, architectures=["BertModel"])
    with pytest.raises(MukiError, match=r"is a sentence encoder \('BertModel'\).*embed\.model"):
        locate("t", Teacher(model="m"), tmp_path)


@pytest.mark.parametrize(
    ("architecture", "changes", "fewer"),
    [
        ("bert", {}, {"num_hidden_layers": 1}),
        ("distilbert", {}, {"n_layers": 1}),
        ("llama", DECODER, {"num_hidden_layers": 1}),
        ("gpt2", {"n_embd": 16, "n_head": 2, "n_layer": 2}, {"n_layer": 1}),
        ("xlm", {"emb_dim": 16, "n_layers": 2, "n_heads": 2}, {"n_layers": 1}),
    ],
)
def test_a_config_with_fewer_layers_than_the_weights_is_refused(
    tmp_path: Path, architecture: str, changes: dict[str, Any], fewer: dict[str, Any]
) -> None:
    folder = tiny.save_teacher(tmp_path / "m", ["a", "b"], architecture, **changes)
    load(locate("t", Teacher(model="m"), tmp_path), 16, CPU)
    change_config(folder, **fewer, layer_types=None)
    with pytest.raises(MukiError, match=r"teacher t: its config\.json has fewer layers than its weights"):
        load(locate("t", Teacher(model="m"), tmp_path), 16, CPU)
    with pytest.raises(MukiError, match=r"its config\.json has fewer layers than its weights"):
        load_base(StudentSettings(model="m", max_length=16), ["a", "b"], tmp_path)


def test_pickled_weights_with_a_prefix_are_told_too(tmp_path: Path) -> None:
    folder = tiny.save_teacher(tmp_path / "m", ["a", "b"])
    state = {f"module.{name}": weights for name, weights in load_file(folder / "model.safetensors").items()}
    torch.save(state, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(MukiError, match=r"a wrapper's prefix, module\."):
        load(locate("t", Teacher(model="m", allow_pickle_weights=True), tmp_path), 16, CPU)


def test_names_are_read_from_label2id_too(tmp_path: Path) -> None:
    folder = tiny.save_teacher(tmp_path / "m", ["a", "b", "c"])
    change_config(folder, id2label=None, label2id={"pear": 1, "apple": 0, "plum": 2})
    files = locate("t", Teacher(model="m"), tmp_path)
    assert files.labels == ("apple", "pear", "plum")
    load(files, 16, CPU)
    change_config(folder, label2id={"pear": 1, "apple": 3, "plum": 2})
    with pytest.raises(MukiError, match="do not count from 0 without gaps"):
        locate("t", Teacher(model="m"), tmp_path)


def test_every_reader_of_a_model_goes_by_the_same_files(tmp_path: Path) -> None:
    folder = tiny.save_teacher(tmp_path / "m", ["a", "b"])

    def digests() -> tuple[str, ...]:
        encoder = find_encoder(params(tmp_path, Embed(model="m")), tmp_path)
        teacher = locate("t", Teacher(model="m"), tmp_path)
        return teacher.digest, base_digest(StudentSettings(model="m"), tmp_path), encoder.digest

    before = digests()
    assert len(set(before)) == 1
    (folder / "README.md").write_text("notes")
    assert digests() == before
    (folder / "bpe.codes").write_text("x")
    after = digests()
    assert len(set(after)) == 1
    assert after != before


def test_the_folders_of_a_sentence_encoders_modules_count(tmp_path: Path) -> None:
    folder = tiny.save_teacher(tmp_path / "m", ["a", "b"])
    for name in ("1_Pooling", "other"):
        (folder / name).mkdir()
        (folder / name / "config.json").write_text("{}")
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "T"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "P"},
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    names = {path.relative_to(folder).as_posix() for path in locations.model_files(folder)}
    assert "1_Pooling/config.json" in names
    assert "other/config.json" not in names
    modules[1]["path"] = "../elsewhere"
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(MukiError, match="which is not in its folder"):
        locations.model_files(folder)


@pytest.mark.parametrize("content", ["{", "{}", "[1]", '[{"path": 1, "type": "x"}]'])
def test_a_damaged_list_of_modules_is_refused(tmp_path: Path, content: str) -> None:
    tiny.save_teacher(tmp_path, ["a", "b"])
    (tmp_path / "modules.json").write_text(content)
    with pytest.raises(MukiError, match=r"modules\.json: is not"):
        locations.model_files(tmp_path)


def test_a_copy_from_the_hub_has_every_file_that_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub, copy = tiny.save_teacher(tmp_path / "hub", ["a", "b"]), tmp_path / "copy"
    left = ("pytorch_model.bin", "model.onnx", "README.md", "checkpoint-1/x")
    for name in ("bpe.codes", "1_Pooling/config.json", *left):
        (hub / name).parent.mkdir(exist_ok=True)
        (hub / name).write_text("x")
    pooling = [{"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}]
    (hub / "modules.json").write_text(json.dumps(pooling))

    def download(name: str, *, revision: str, ignore_patterns: list[str], local_files_only: bool) -> str:
        every = [path.relative_to(hub).as_posix() for path in hub.rglob("*") if path.is_file()]
        for each in filter_repo_objects(every, ignore_patterns=ignore_patterns):
            (copy / each).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(hub / each, copy / each)
        return str(copy)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    teacher = locate("t", Teacher(model="acme/m", revision="0" * 40), tmp_path)
    assert teacher.folder == copy
    names = {path.relative_to(copy).as_posix() for path in copy.rglob("*") if path.is_file()}
    assert {"bpe.codes", "1_Pooling/config.json"} <= names
    assert not names & set(left)
    assert teacher.digest == locate("t", Teacher(model="hub"), tmp_path).digest
    locate("t", Teacher(model="acme/m", revision="0" * 40, allow_pickle_weights=True), tmp_path)
    assert (copy / "pytorch_model.bin").exists()
    (hub / "model_head.pkl").write_text("of SetFit")
    for pickles in (False, True):
        locations.model_folder("acme/m", tmp_path, revision="0" * 40, pickles=pickles)
        assert (copy / "model_head.pkl").exists() == pickles
