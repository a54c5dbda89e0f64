"""Tokenizers: loaded with a check that they know words, and matched with their model's padding and positions."""

from pathlib import Path

from torch import nn
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from pipeline.errors import MukiError, refusing


def load_tokenizer(folder: Path, where: str, *, trust_remote_code: bool = False) -> PreTrainedTokenizerBase:
    """The tokenizer of a model's folder.

    A special token that is written in a text, say `</s>`, is read as ordinary characters: otherwise whoever writes a
    text could end it early, or stop models that count these tokens.

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
    if len(set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens)) == 0:
        what = f"the tokenizer in {folder} has no vocabulary, so every word would be unknown"
        raise MukiError(what, where=where, fix=fix)
    return tokenizer


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


def longest_input(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int:
    """Longest input in tokens: the least of what the tokenizer, the config and the table of positions allow."""
    limits = [int(tokenizer.model_max_length)]
    positions = getattr(model.config, "max_position_embeddings", None)
    # With relative attention alone a model reads on, whatever its config says.
    if isinstance(positions, int) and positions > 0 and not getattr(model.config, "relative_attention", False):
        limits.append(positions)
    for name, module in model.named_modules():
        if isinstance(module, nn.Embedding) and name.endswith("position_embeddings"):
            # RoBERTa and similar models start counting positions after the padding index.
            limits.append(module.num_embeddings - (0 if module.padding_idx is None else module.padding_idx + 1))
    return min(limits)
