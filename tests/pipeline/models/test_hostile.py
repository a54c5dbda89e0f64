"""Models, configs and texts that are damaged, odd or hostile: right numbers or a clear refusal."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from muki_pipeline.blocks import Teacher
from muki_pipeline.config import Label
from muki_pipeline.errors import MukiError
from muki_pipeline.labelling.labeller import Labeller
from muki_pipeline.models.batching import tokenise
from muki_pipeline.models.loaded.teacher import load
from muki_pipeline.models.teachers import locate
from tests import tiny

SETTINGS = Label(passes=3, max_length=24, token_budget=200, device="cpu", dtype="float32")
TEXTS = ["w1 w2 w3", "", "w4 </s> w5 </s>", "w9 " * 40]
DECODER: dict[str, Any] = {"num_key_value_heads": 2, "attention_dropout": 0.1}
BART = {
    "d_model": 16,
    **dict.fromkeys(("encoder_layers", "decoder_layers", "encoder_attention_heads", "decoder_attention_heads"), 2),
    **dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim"), 32),
    "eos_token_id": 2,
    "decoder_start_token_id": 2,
}
T5 = {
    "d_model": 16,
    "d_kv": 8,
    "d_ff": 32,
    "num_layers": 2,
    "num_heads": 2,
    "eos_token_id": 2,
    "decoder_start_token_id": 0,
}
GPT = {"n_embd": 16, "n_head": 2, "n_layer": 2, "pad_token_id": None}


def bare_tokenizer() -> PreTrainedTokenizerFast:
    """Like GPT-2's and Llama's: no special token around a text, none to pad with."""
    inner = Tokenizer(models.WordLevel(tiny.VOCABULARY, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=inner, model_max_length=64, eos_token="</s>", unk_token="<unk>")


def save(root: Path, architecture: str, *, bare: bool = False, **config: Any) -> Path:
    tiny.model(["a", "b", "c"], architecture, **config).save_pretrained(root / "m")
    (bare_tokenizer() if bare else tiny.tokenizer()).save_pretrained(root / "m")
    return root / "m"


def label(root: Path, texts: list[str] = TEXTS, **settings: Any) -> pa.Table:
    labeller = Labeller(locate("t", Teacher(model="m", **settings), root), SETTINGS)
    return labeller.label(pa.table({"id": [str(row) for row in range(len(texts))], "text": texts}))


@pytest.mark.parametrize("bare", [False, True])
@pytest.mark.parametrize(
    ("architecture", "config"),
    [("gpt2", GPT), ("llama", DECODER | {"pad_token_id": None}), ("bert", {"pad_token_id": 3}), ("roberta", {})],
)
def test_empty_texts_and_padding_tokens_that_differ(
    tmp_path: Path, architecture: str, config: dict[str, Any], bare: bool
) -> None:
    save(tmp_path, architecture, bare=bare, **config)
    together = label(tmp_path)
    for row, text in enumerate(TEXTS):
        alone = label(tmp_path, [text])
        np.testing.assert_allclose(alone["entropy"][0].as_py(), together["entropy"][row].as_py(), atol=1e-5)
    assert min(together["tokens"].to_pylist()) >= 1


@pytest.mark.parametrize(("architecture", "config"), [("t5", T5), ("bart", BART | {"classifier_dropout": 0.1})])
def test_an_end_token_in_a_text_is_only_text(tmp_path: Path, architecture: str, config: dict[str, Any]) -> None:
    save(tmp_path, architecture, **config)
    table = label(tmp_path)
    assert np.isfinite(table["entropy"].to_numpy()).all()
    _, tokenizer = load(locate("t", Teacher(model="m"), tmp_path), 24, torch.device("cpu"))
    assert tokenizer("w1 </s>")["input_ids"].count(tokenizer.eos_token_id) == 1


@pytest.mark.parametrize(
    ("architecture", "config", "message"),
    [
        ("gemma2", DECODER | {"head_dim": 8, "attn_logit_softcapping": 50.0}, "softcap"),
        ("nystromformer", {"num_landmarks": 4, "segment_means_seq_len": 16}, "network cannot read a text"),
        ("canine", {"num_hash_buckets": 64}, "network cannot read a text padded to a batch"),
        ("mpt", {"d_model": 16, "n_heads": 2, "n_layers": 2, "resid_pdrop": 0.1}, "the network applies none"),
    ],
)
def test_an_architecture_without_support_is_refused(
    tmp_path: Path, architecture: str, config: dict[str, Any], message: str
) -> None:
    save(tmp_path, architecture, **config)
    with pytest.raises(MukiError, match=message):
        label(tmp_path)


CONFIGS: dict[str, tuple[dict[str, Any], str]] = {
    "labels in a list": ({"id2label": ["a", "b", "c"]}, "id2label: Input should be a valid dictionary"),
    "no labels": ({"id2label": None}, "id2label: Input should be a valid dictionary"),
    "text for a number": ({"id2label": {"x": "a", "1": "b"}}, "id2label.x"),
    "two orders": (
        {"id2label": {"0": "a", "1": "b", "2": "c"}, "label2id": {"a": 1, "b": 0, "c": 2}},
        "id2label and label2id give 'a' different outputs",
    ),
    "a gap": ({"id2label": {"0": "a", "2": "b"}}, "do not count from 0 without gaps"),
    "a list as a label": ({"id2label": {"0": ["a"], "1": "b"}}, "id2label.0"),
    "a billion labels": ({"id2label": {}, "num_labels": 10**9}, "num_labels"),
    "ten million layers": ({"num_hidden_layers": 10**7}, "num_hidden_layers"),
    "a huge vocabulary": ({"vocab_size": 10**10}, "vocab_size"),
    "a wide layer": ({"intermediate_size": 10**12}, "intermediate_size"),
    "no layers": ({"num_hidden_layers": -1}, "num_hidden_layers"),
    "quantised": ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "the weights are quantised"),
    "heads that do not divide": ({"num_attention_heads": 3}, "cannot be loaded"),
    "text for a size": ({"hidden_size": "many"}, "hidden_size"),
    "an unknown type": ({"model_type": "no-such-model"}, "cannot be loaded"),
    "an unknown activation": ({"hidden_act": "no-such-function"}, "cannot be loaded"),
}


@pytest.mark.parametrize("case", CONFIGS)
def test_a_config_that_makes_no_sense_is_refused(tmp_path: Path, case: str) -> None:
    changes, message = CONFIGS[case]
    path = save(tmp_path, "bert") / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(MukiError, match=message):
        label(tmp_path)


@pytest.mark.parametrize("content", ["[]", "3", "", "{", "null", '{"a": NaN', "\x00"])
@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json"])
def test_a_file_that_is_no_json_object_is_refused(tmp_path: Path, name: str, content: str) -> None:
    (save(tmp_path, "bert") / name).write_text(content)
    with pytest.raises(MukiError):
        label(tmp_path)


def test_a_tokenizer_with_more_words_than_the_model_is_refused(tmp_path: Path) -> None:
    save(tmp_path, "bert", vocab_size=len(tiny.VOCABULARY) - 5)
    with pytest.raises(MukiError, match="knows tokens up to number 53, but its weights have 49 embeddings"):
        label(tmp_path)


@pytest.mark.parametrize(("architecture", "config"), [("gpt2", GPT), ("bart", BART)])
def test_positions_are_bounded_in_every_architecture(tmp_path: Path, architecture: str, config: dict[str, Any]) -> None:
    save(tmp_path, architecture, **config | {"max_position_embeddings": 20})
    with pytest.raises(MukiError, match=r"it reads at most 20 tokens and label\.max_length is 24"):
        label(tmp_path)


@pytest.mark.parametrize("kind", ["pipe", "link"])
def test_weights_that_are_no_file_are_refused(tmp_path: Path, kind: str) -> None:
    path = save(tmp_path, "bert") / "model.safetensors"
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("nothing")
    with pytest.raises(MukiError, match="is a broken link or no regular file"):
        label(tmp_path)


@pytest.mark.parametrize("text", ["w1 w2 " * 5000, "w" * 200_000, " " * 90_000 + "w1 w2", "w1" + "\n" * 100_000 + "w2"])
@pytest.mark.parametrize("by_character", [False, True])
def test_the_beginning_of_a_long_text_has_the_tokens_of_the_whole(text: str, by_character: bool) -> None:
    tokenizer = tiny.tokenizer(by_character=by_character)
    tokenised = tokenise(tokenizer, [text, "w1"], 24)
    whole = tokenizer(text, truncation=True, max_length=24)["input_ids"]
    assert tokenised.features["input_ids"][0] == whole
    assert tokenised.truncated[0] == (len(tokenizer(text)["input_ids"]) > 24)


def test_a_text_of_ten_megabytes_costs_less_than_a_hundred() -> None:
    program = """
import resource
from muki_pipeline.models.batching import tokenise
from tests import tiny
tokenizer = tiny.tokenizer()
tokenise(tokenizer, ["w1"], 24)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
tokenise(tokenizer, ["w1 w2 w3 " * 1_200_000], 24)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 100_000  # kB


def test_a_vocabulary_without_its_unknown_token_is_refused(tmp_path: Path) -> None:
    folder = save(tmp_path, "distilbert")
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer"}))
    (folder / "vocab.txt").write_text("[PAD]\n[CLS]\n[SEP]\nw1\n")
    with pytest.raises(MukiError, match=r"its tokenizer cannot be loaded from .*Missing \[UNK\]"):
        label(tmp_path)
