"""Loading a tokenizer that knows words: transformers makes an empty one where the vocabulary's files are missing."""

from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from pipeline.errors import MukiError


def load_tokenizer(folder: Path, where: str, *, trust_remote_code: bool = False) -> PreTrainedTokenizerBase:
    """The tokenizer of a model's folder.

    Args:
        folder: The model.
        where: Named in errors.
        trust_remote_code: Whether its own code may run.

    Raises:
        MukiError: Its files are missing or unreadable, or it knows no token besides the special ones.
    """
    fix = "Save the tokenizer into the folder too: tokenizer.save_pretrained(FOLDER)"
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, trust_remote_code=trust_remote_code)
    except Exception as error:  # tokenizers raises bare Exceptions for files that it cannot parse
        what = f"its tokenizer cannot be loaded from {folder} ({' '.join(str(error).split())[:200]})"
        raise MukiError(what, where=where, fix=fix) from None
    if len(set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens)) == 0:
        what = f"the tokenizer in {folder} has no vocabulary, so every word would be unknown"
        raise MukiError(what, where=where, fix=fix)
    return tokenizer
