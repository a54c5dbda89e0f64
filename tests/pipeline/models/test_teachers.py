import json
from pathlib import Path
from typing import Any

import pytest
import torch

from muki_pipeline.blocks import Teacher
from muki_pipeline.errors import MukiError
from muki_pipeline.models.loaded.teacher import load
from muki_pipeline.models.teachers import TeacherFiles, locate
from tests import tiny

CPU = torch.device("cpu")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny.save_teacher(tmp_path / "model", ["a", "b", "c"])


def located(folder: Path, **settings: Any) -> TeacherFiles:
    return locate("t", Teacher(model=folder.name, **settings), folder.parent)


def change_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_teacher_is_read_with_its_labels(folder: Path) -> None:
    files = located(folder)
    assert files.labels == ("a", "b", "c")
    model, tokenizer = load(files, 32, CPU)
    assert not model.training
    assert tokenizer("w1")["input_ids"] == [1, tiny.VOCABULARY["w1"], 2]


def test_any_changed_file_changes_the_digest_and_nothing_else_does(folder: Path) -> None:
    before = located(folder).digest
    others = (
        *("README.md", "LICENSE", ".gitattributes", "pytorch_model.bin", "training_args.bin", "optimizer.pt"),
        *("tf_model.h5", "model.onnx", "checkpoint-500/model.safetensors", "runs/events", "onnx/config.json"),
    )
    for name in others:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("never loaded")
        assert located(folder).digest == before, name
    kept = ("model.safetensors", "config.json", "tokenizer.json")
    # Files of tokenizers that nobody has made a list of: some family reads them.
    for name in (*kept, "spiece.vocab", "bpe.codes", "vocab.bin.txt", "qwen.tiktoken", "dict.tsv", "code.py"):
        path = folder / name
        content = path.read_bytes() if name in kept else None
        path.write_bytes((content or b"") + b" ")
        assert located(folder).digest != before, name
        path.unlink() if content is None else path.write_bytes(content)
    assert located(folder).digest == before


def test_given_labels_take_the_place_of_made_up_ones(folder: Path) -> None:
    change_config(folder, id2label={str(n): f"LABEL_{n}" for n in range(3)})
    with pytest.raises(MukiError, match=r"does not name its 3 labels, only 'LABEL_0', 'LABEL_1', 'LABEL_2'"):
        located(folder)
    assert located(folder, labels=["x", "y", "z"]).labels == ("x", "y", "z")
    with pytest.raises(MukiError, match="labels gives 2 names, the model has 3 outputs"):
        located(folder, labels=["x", "y"])
    with pytest.raises(MukiError, match="labels occur more than once: 'x'"):
        located(folder, labels=["x", "y", "x"])


def test_a_config_without_names_means_two_made_up_ones(folder: Path) -> None:
    tiny.save_teacher(folder, ["LABEL_0", "LABEL_1"])
    with pytest.raises(MukiError, match="does not name its 2 labels"):
        located(folder)


def test_one_label_and_twice_the_same_are_refused(folder: Path) -> None:
    change_config(folder, id2label={"0": "only"})
    with pytest.raises(MukiError, match="it has only one label"):
        located(folder)
    change_config(folder, id2label={"0": "a", "1": "b", "2": "a"})
    with pytest.raises(MukiError, match="labels occur more than once: 'a'"):
        located(folder)
    # They look the same, and stage two would take them for one label.
    for alike in ("caf\u00e9", "cafe\u0301 "):
        change_config(folder, id2label={"0": "caf\u00e9", "1": f" {alike}", "2": "b"})
        with pytest.raises(MukiError, match=r"more than once: 'caf\u00e9'.*teachers\.t\.labels"):
            located(folder)


def test_weights_that_are_not_safetensors_need_an_opt_in(folder: Path) -> None:
    state = tiny.model(["a", "b", "c"]).state_dict()
    (folder / "model.safetensors").unlink()
    torch.save(state, folder / "pytorch_model.bin")
    with pytest.raises(MukiError, match=r"no weights in safetensors .*teachers\.t\.allow_pickle_weights: true"):
        located(folder)
    model, _ = load(located(folder, allow_pickle_weights=True), 32, CPU)
    torch.testing.assert_close(dict(model.state_dict()), dict(state))


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_code_of_its_own_needs_an_opt_in(folder: Path, name: str) -> None:
    content = json.loads((folder / name).read_text()) | {"auto_map": {"AutoConfig": "code.Config"}}
    (folder / name).write_text(json.dumps(content))
    (folder / "code.py").write_text("raise SystemExit('ran')")
    with pytest.raises(MukiError, match=r"run their own code .*teachers\.t\.trust_remote_code: true"):
        located(folder)
    assert located(folder, trust_remote_code=True).labels == ("a", "b", "c")


def test_more_than_one_label_a_text_is_refused(folder: Path) -> None:
    change_config(folder, problem_type="multi_label_classification")
    with pytest.raises(MukiError, match="trained for multi_label_classification"):
        located(folder)


def test_a_model_of_one_output_is_refused(folder: Path) -> None:
    change_config(folder, problem_type="regression", id2label={"0": "only"})
    with pytest.raises(MukiError, match=r"has one output, \['only'\], so it chooses nothing"):
        located(folder)


def test_a_model_without_a_trained_head_is_refused(folder: Path) -> None:
    from transformers import AutoModel

    AutoModel.from_pretrained(folder).save_pretrained(folder)
    change_config(folder, id2label={"0": "a", "1": "b", "2": "c"})
    with pytest.raises(MukiError, match=r"is a pretrained model \('BertModel'\).*not a fine-tuned classifier"):
        located(folder)
    change_config(folder, architectures=None)
    with pytest.raises(MukiError, match=r"weights lack 'classifier\.bias'.*not a fine-tuned classifier"):
        load(located(folder), 32, CPU)


@pytest.mark.parametrize(("architecture", "limit"), [("bert", 64), ("roberta", 64), ("deberta-v2", 64)])
def test_longer_inputs_than_it_reads_are_refused(tmp_path: Path, architecture: str, limit: int) -> None:
    files = located(tiny.save_teacher(tmp_path / "m", ["a", "b"], architecture))
    load(files, limit, CPU)
    with pytest.raises(MukiError, match=rf"reads at most {limit} tokens and label\.max_length is {limit + 1}"):
        load(files, limit + 1, CPU)


def test_roberta_positions_begin_behind_the_padding_index(tmp_path: Path) -> None:
    folder = tiny.save_teacher(tmp_path / "m", ["a", "b"], "roberta", max_position_embeddings=40)
    with pytest.raises(MukiError, match="reads at most 39 tokens"):
        load(located(folder), 40, CPU)


def test_a_dropout_of_its_own_is_set_everywhere(folder: Path) -> None:
    model, _ = load(located(folder, dropout=0.3), 32, CPU)
    assert {module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)} == {0.3}


def test_an_unpinned_hub_id_is_refused(folder: Path) -> None:
    with pytest.raises(MukiError, match=r"owner/name is not a folder, and as a hub id it is not pinned"):
        locate("t", Teacher(model="owner/name"), folder.parent)
    with pytest.raises(MukiError, match=r"owner/name is not a folder, and main is no commit: its files may change"):
        locate("t", Teacher(model="owner/name", revision="main"), folder.parent)
    with pytest.raises(MukiError, match="no such model folder"):
        locate("t", Teacher(model="data/teachers/x"), folder.parent)
    with pytest.raises(MukiError, match="downloading it from the hub failed"):
        locate("t", Teacher(model="owner/name", revision="0" * 40), folder.parent)


def test_files_that_make_no_model_are_refused(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"nonsense")
    with pytest.raises(MukiError, match="teacher t: cannot be loaded from"):
        load(located(folder), 32, CPU)
    (folder / "config.json").write_text("{")
    with pytest.raises(MukiError, match=r"config\.json: is not valid JSON"):
        located(folder)


def test_a_folder_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    tiny.model(["a", "b"]).save_pretrained(tmp_path / "m")  # what model.save_pretrained alone leaves
    files = locate("t", Teacher(model="m"), tmp_path)
    with pytest.raises(MukiError, match=r"teacher t: .*tokenizer.*tokenizer\.save_pretrained"):
        load(files, 16, torch.device("cpu"))
    (tmp_path / "m" / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    with pytest.raises(MukiError, match=r"teacher t: .*tokenizer"):
        load(files, 16, torch.device("cpu"))


@pytest.mark.parametrize(
    "name", ["../../x.safetensors", "/etc/x.safetensors", "sub/x.safetensors", "pytorch_model.bin"]
)
def test_an_index_that_names_files_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    tiny.save_teacher(tmp_path / "m", ["a", "b"])
    (tmp_path / "m" / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"w": name}}))
    with pytest.raises(MukiError, match="not a safetensors file beside it"):
        locate("t", Teacher(model="m"), tmp_path)


def test_weights_that_an_index_names_are_in_the_digest(tmp_path: Path) -> None:
    tiny.save_teacher(tmp_path / "m", ["a", "b"])
    (tmp_path / "m" / "part.safetensors").write_bytes(b"one")
    (tmp_path / "m" / "model.safetensors.index.json").write_text('{"weight_map": {"w": "part.safetensors"}}')
    before = locate("t", Teacher(model="m"), tmp_path).digest
    (tmp_path / "m" / "part.safetensors").write_bytes(b"two")
    assert locate("t", Teacher(model="m"), tmp_path).digest != before
