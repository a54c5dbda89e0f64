"""Texts are read as transformers reads them, except for structural tokens that are written in a text."""

from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, Regex, Tokenizer, models, pre_tokenizers, processors
from transformers import (
    AutoTokenizer,
    ByT5Tokenizer,
    CTRLTokenizer,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    T5Tokenizer,
)

from muki_pipeline.models.batching import tokenise
from muki_pipeline.models.tokenizers import load_tokenizer, own_tokens
from muki_pipeline.training.batches import encoded
from tests import tiny

LENGTH = 24
OWN = ["[USR]", "<url>"]


def plain(folder: Path, text: str, **settings: Any) -> list[int]:
    """As `pipeline("text-classification")` reads it."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return list(tokenizer(text, truncation=True, max_length=LENGTH, **settings)["input_ids"])


def ours(folder: Path, text: str) -> list[int]:
    """As label, deployment and the encoder read it; training reads the same."""
    tokenizer = load_tokenizer(folder, "t")
    ids = list(tokenise(tokenizer, [text], LENGTH).features["input_ids"][0])
    assert list(encoded(tokenizer, [text], LENGTH)["input_ids"][0]) == ids
    return ids


def by_digits() -> PreTrainedTokenizerFast:
    """Groups digits by three from the left, as Llama 3 and Qwen do: a cut changes every token after it."""
    words = [f"{number:03}" for number in range(1000)] + [str(number) for number in range(100)]
    vocabulary = {token: at for at, token in enumerate(["<pad>", "<s>", "</s>", "<unk>", *words])}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Split(Regex(r"\d{1,3}"), "isolated")
    return PreTrainedTokenizerFast(tokenizer_object=inner, model_max_length=64, **tiny.SPECIAL)


LONG = ["w1 w2 w3 w4 w5 " * 20 * LENGTH + "w6", "w" * 20 * LENGTH, " " * 20 * LENGTH + "w1", "0123456789" * 50 * LENGTH]


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("make", [tiny.tokenizer, by_digits])
@pytest.mark.parametrize("text", LONG)
def test_long_texts_are_cut_as_transformers_cuts_them(tmp_path: Path, make: Any, side: str, text: str) -> None:
    make().save_pretrained(tmp_path)
    tiny.cut_on(side, tmp_path)
    assert AutoTokenizer.from_pretrained(tmp_path).truncation_side == side
    assert ours(tmp_path, text) == plain(tmp_path, text)


def with_own(tokenizer: PreTrainedTokenizerBase, folder: Path) -> Path:
    tokenizer.add_special_tokens({"extra_special_tokens": [OWN[0]]})
    tokenizer.add_tokens([AddedToken(OWN[1], lstrip=True, rstrip=True)])
    tokenizer.save_pretrained(folder)
    return folder


def slow(folder: Path) -> PreTrainedTokenizerBase:
    (folder / "vocab.json").write_text('{"w": 0, "1</w>": 1, "w1</w>": 2, "<unk>": 3, "</s>": 4}')
    (folder / "merges.txt").write_text("#version: 0.2\nw 1</w>\n\n")
    names = {"vocab_file": str(folder / "vocab.json"), "merges_file": str(folder / "merges.txt")}
    return CTRLTokenizer(**names, eos_token="</s>")


KINDS: dict[str, Any] = {
    "fast": lambda folder: tiny.tokenizer(),
    "slow": slow,
    "bytes": lambda folder: ByT5Tokenizer(extra_ids=2),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", ["[USR] w1 <url> w1", "w1[USR]w1", "<url>", "w1 <url>", " [USR]  [USR] "])
def test_a_teachers_own_tokens_stay_whole(tmp_path: Path, kind: str, text: str) -> None:
    folder = with_own(KINDS[kind](tmp_path), tmp_path)
    tokenizer = load_tokenizer(folder, "t")
    assert set(OWN) <= set(own_tokens(tokenizer))
    assert ours(folder, text) == plain(folder, text)
    assert set(tokenizer.convert_tokens_to_ids(OWN)) & set(ours(folder, text))


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_that_training_saves_reads_the_same(tmp_path: Path, kind: str) -> None:
    folder = with_own(KINDS[kind](tmp_path), tmp_path)
    text = "[USR] w1 </s> <url> w1"
    load_tokenizer(folder, "t").save_pretrained(tmp_path / "again")
    assert ours(tmp_path / "again", text) == ours(folder, text)


def unigram() -> PreTrainedTokenizerBase:
    pieces = ["▁", "▁w", "w", "s", "<", "/", ">", "1"]
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *((piece, -3.0) for piece in pieces)]
    return T5Tokenizer(vocab=vocabulary, extra_ids=0)


def by_space() -> PreTrainedTokenizerFast:
    """Splits at spaces alone, so that `</s>` is a word of the vocabulary."""
    inner = Tokenizer(models.WordLevel(tiny.VOCABULARY, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    inner.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)])
    return PreTrainedTokenizerFast(tokenizer_object=inner, model_max_length=64, **tiny.SPECIAL)


MAKERS = {"words": tiny.tokenizer, "spaces": by_space, "unigram": unigram}


@pytest.mark.parametrize("text", ["w1 </s> w1", "</s>", "w1 </s></s>", "</s> <s> <pad>", "w1</s>w1 " * 40])
@pytest.mark.parametrize("maker", MAKERS)
def test_a_structural_token_in_a_text_is_never_read_as_one(tmp_path: Path, maker: str, text: str) -> None:
    MAKERS[maker]().save_pretrained(tmp_path)
    tokenizer = load_tokenizer(tmp_path, "t")
    template = tokenizer("")["input_ids"]
    found = ours(tmp_path, text)
    for token in (tokenizer.eos_token, tokenizer.bos_token, tokenizer.cls_token, tokenizer.pad_token):
        number = tokenizer.convert_tokens_to_ids(token) if token else None
        assert found.count(number) == template.count(number), token
    assert found[len(found) - 1] == template[-1]


def test_a_word_that_a_model_pads_with_stays_a_word(tmp_path: Path) -> None:
    tokenizer = tiny.tokenizer()
    tokenizer.pad_token = "w1"
    tokenizer.save_pretrained(tmp_path)
    assert ours(tmp_path, "w1 w2") == [1, tiny.VOCABULARY["w1"], tiny.VOCABULARY["w2"], 2]


def test_a_tokenizer_without_added_tokens_names_none() -> None:
    assert own_tokens(tiny.tokenizer()) == []
