"""Tokenizers: loaded with a check that they know words, and matched with their model's padding and positions."""

import json
from functools import partial
from itertools import groupby, takewhile
from operator import itemgetter
from pathlib import Path
from typing import Any

import tokenizers
from torch import nn
from transformers import (
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    PythonBackend,
)
from transformers.tokenization_python import Trie

from muki_pipeline.errors import MukiError, refusing

ANY_LENGTH = 2**31 - 1
"""Tokens in the longest text that settings can ask for; tokenizers without a limit name a number far above."""


_PROBE = "a word, 一 and \U0001f600"


def load_tokenizer(folder: Path, where: str, *, trust_remote_code: bool = False) -> PreTrainedTokenizerBase:
    """The tokenizer of a model's folder.

    A structural token that is written in a text, say `</s>`, is read as ordinary characters: otherwise whoever writes a
    text could end it early, or stop models that count these tokens. Tokens that a model's author added, say `<url>`,
    are part of its input and stay whole.

    Args:
        folder: The model.
        where: Named in errors.
        trust_remote_code: Whether its own code may run.

    Raises:
        MukiError: Its files are missing or unreadable, or it knows no token besides the special ones.
    """
    fix = "Save the tokenizer into the folder too: tokenizer.save_pretrained(FOLDER)"
    with refusing(f"its tokenizer cannot be loaded from {folder}", where=where, fix=fix):
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            folder, trust_remote_code=trust_remote_code, split_special_tokens=True
        )
        _keep_own_tokens_whole(tokenizer)
        tokenizer(_PROBE)  # a vocabulary that lacks its own unknown token fails at the first word that it lacks
    if len(set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens)) == 0:
        what = f"the tokenizer in {folder} has no vocabulary, so every word would be unknown"
        raise MukiError(what, where=where, fix=fix)
    return tokenizer


def structural_tokens(tokenizer: PreTrainedTokenizerBase) -> set[str]:
    """The tokens that make an input of a text: they begin, end, pad and mask it, or stand for what is unknown."""
    named = {getattr(tokenizer, name) for name in tokenizer.SPECIAL_TOKENS_ATTRIBUTES} - {None}
    return {str(token) for token in named} | set(tokenizer.convert_ids_to_tokens(tokenizer("")["input_ids"]))


def own_tokens(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """The tokens that a model's author added for use in texts; they are read whole."""
    structural = structural_tokens(tokenizer)
    return [str(token) for token in tokenizer.added_tokens_decoder.values() if str(token) not in structural]


def structural_places(tokenizer: PreTrainedTokenizerBase) -> tuple[int, int, set[int]]:
    """Where structural tokens belong, and those that belong nowhere else.

    Returns:
        How many tokens stand before a text, how many after it, and the numbers of the tokens that must not occur in
        between. The unknown token may, and so may a word that a model merely pads with, say a full stop.
    """
    unknown = tokenizer.unk_token_id
    structural = [token for token in structural_tokens(tokenizer) if not _is_word(token)]
    numbers = tokenizer.convert_tokens_to_ids(structural)
    assert isinstance(numbers, list)
    misplaced = set(numbers) - {unknown, None}
    special = (set(tokenizer.added_tokens_decoder) | misplaced) - {unknown}
    around = tokenizer("a")["input_ids"]
    before, after = (sum(1 for _ in takewhile(special.__contains__, ids)) for ids in (around, around[::-1]))
    return before, after, misplaced


def _is_word(token: str) -> bool:
    return len(token) == 1 or token.lstrip("▁Ġ").isalnum()


def _keep_own_tokens_whole(tokenizer: PreTrainedTokenizerBase) -> None:
    """With `split_special_tokens` a tokenizer splits every special token: let it split the structural ones alone."""
    own = own_tokens(tokenizer)
    if isinstance(tokenizer, PreTrainedTokenizerFast):
        backend, structural = tokenizer.backend_tokenizer, structural_tokens(tokenizer)
        added = backend.get_added_tokens_decoder().values()
        if any(token.special != (token.content in structural) for token in added):
            content = json.loads(backend.to_str())
            for token in content["added_tokens"]:
                token["special"] = token["content"] in structural
            # Adding a token again changes nothing about it, so the whole tokenizer is rebuilt.
            tokenizer._tokenizer = tokenizers.Tokenizer.from_str(json.dumps(content))
    elif isinstance(tokenizer, PythonBackend) and own:
        # Tokenizers in Python know only all or nothing. mypy: it is the method of this one object that changes.
        tokenizer.tokenize = partial(_tokenize, tokenizer, own)  # type: ignore[method-assign]


def _tokenize(tokenizer: PythonBackend, own: list[str], text: str, **kwargs: Any) -> list[str]:
    """As `PythonBackend.tokenize`, with the model's own tokens whole and all others split."""
    kwargs.pop("split_special_tokens", None)
    text, _ = tokenizer.prepare_for_tokenization(text, **kwargs)
    added = {str(token): token for token in tokenizer.added_tokens_decoder.values() if str(token) in own}
    # transformers leaves these two functions unannotated.
    parts = [part for part in Trie(own).split(text) if part]  # type: ignore[no-untyped-call]
    whole = [part in added for part in parts]
    for at, token in enumerate(added[part] if is_whole else None for part, is_whole in zip(parts, whole, strict=True)):
        before, after = parts[at - 1] if at else "", parts[at + 1] if at + 1 < len(parts) else ""
        if token is not None and token.single_word and (before[-1:].strip() or after[:1].strip()):
            whole[at] = False
        elif token is not None:
            if token.lstrip and at:
                parts[at - 1] = before.rstrip()
            if token.rstrip and after:
                parts[at + 1] = after.lstrip()
    tokens: list[str] = []
    for is_whole, group in groupby(zip(whole, parts, strict=True), key=itemgetter(0)):
        pieces = [part for _, part in group if part]
        tokens += pieces if is_whole else tokenizer._tokenize("".join(pieces))  # type: ignore[no-untyped-call]
    return tokens


def align_padding(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Make model and tokenizer pad with the same token: the model's own, which it was trained with.

    Where the model names none, it is told the tokenizer's, or else the token that ends a text.
    """
    config = model.config
    if config.pad_token_id is None:
        known = (tokenizer.pad_token_id, tokenizer.eos_token_id, 0)
        config.pad_token_id = next(token for token in known if token is not None)
    token = tokenizer.convert_ids_to_tokens(config.pad_token_id)
    if tokenizer.pad_token_id != config.pad_token_id and isinstance(token, str):
        tokenizer.pad_token = token


def longest_input(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int | None:
    """Longest input in tokens: the least of what the tokenizer, the config and the table of positions allow.

    None where none of them sets a limit: the model reads texts of any length.
    """
    limits = [int(tokenizer.model_max_length)]
    positions = getattr(model.config, "max_position_embeddings", None)
    # With relative attention alone a model reads on, whatever its config says.
    if isinstance(positions, int) and positions > 0 and not getattr(model.config, "relative_attention", False):
        limits.append(positions)
    for name, module in model.named_modules():
        if isinstance(module, nn.Embedding) and name.endswith("position_embeddings"):
            # RoBERTa and similar models start counting positions after the padding index.
            limits.append(module.num_embeddings - (0 if module.padding_idx is None else module.padding_idx + 1))
    return min((limit for limit in limits if limit <= ANY_LENGTH), default=None)


def check_length(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, asked: int, where: str, key: str) -> None:
    """Refuse a longest text beyond what a model reads.

    Args:
        model: The model.
        tokenizer: Its tokenizer.
        asked: Tokens that it would have to read.
        where: Named in errors.
        key: The setting that asks for them.

    Raises:
        MukiError: It reads less.
    """
    limit = longest_input(model, tokenizer)
    if limit is not None and limit < asked:
        what = f"it reads at most {limit} tokens and {key} is {asked}"
        raise MukiError(what, where=where, fix=f"Set {key} to {limit} or less")
