"""What turns a batch of tokenised texts into vectors: the average of a model's last layer, or what its folder says.

A sentence encoder's folder lists its modules (`modules.json`), and may name a prompt that goes before every text. The
library that wrote it, sentence-transformers, reads it, and only where there is such a list: importing it takes seconds.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModel, PreTrainedModel, PreTrainedTokenizerBase

from muki_pipeline.errors import MukiError, refusing, shortlist
from muki_pipeline.models import locations
from muki_pipeline.models.tokenizers import align_padding, load_tokenizer, structural_places
from muki_pipeline.store.files import exists, read_json

_KNOWN = ("Transformer", "Pooling", "Dense", "Normalize", "LayerNorm")
"""Modules that read nothing but the output of the one before, and run no code of the folder."""
_LIBRARY = "sentence_transformers."
_FIX = "Set embed.model to a folder or hub id of another text encoder"


@dataclass(frozen=True)
class TextEncoder:
    """A loaded encoder.

    Attributes:
        model: Its network, in float32 and `eval()`.
        tokenizer: Its tokenizer.
        vectors: Of the model's inputs, each `[texts, tokens]`: a vector for each text, `[texts, size]`.
        prompt: What goes before every text; empty for most.
        longest: Tokens at which its folder says that texts are cut; None where it does not say.
        is_lower: Whether texts are put in lower case first.
        description: How it makes one vector of a text, for a person.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    vectors: Callable[[Mapping[str, Tensor]], Tensor]
    prompt: str
    longest: int | None
    is_lower: bool
    description: str

    def prepared(self, texts: list[str]) -> list[str]:
        """The texts as the tokenizer is to see them."""
        return [self.prompt + (text.lower() if self.is_lower else text) for text in texts]


def load_text_encoder(folder: Path, where: str, device: torch.device, prompt: str | None = None) -> TextEncoder:
    """Load an encoder as its folder says.

    Args:
        folder: The model.
        where: Named in errors.
        device: Where it runs.
        prompt: What goes before every text; by default what the folder says.

    Raises:
        MukiError: It cannot be loaded, or has a module that is not known.
    """
    modules = locations.read_modules(folder)
    load = _sentence_encoder if modules else _averaging_encoder
    encoder = load(folder, where, device, prompt)
    align_padding(encoder.model, encoder.tokenizer)
    return encoder


def _averaging_encoder(folder: Path, where: str, device: torch.device, prompt: str | None) -> TextEncoder:
    tokenizer = load_tokenizer(folder, where)
    with refusing("cannot be loaded as a text encoder", where=where, fix=_FIX):
        model = AutoModel.from_pretrained(folder, use_safetensors=True, dtype=torch.float32)
        # A decoder would need a text of its own.
        network = model.get_encoder() if model.config.is_encoder_decoder else model
    network.eval().to(device)

    def average(inputs: Mapping[str, Tensor]) -> Tensor:
        hidden = network(**inputs).last_hidden_state  # [texts, tokens, size]
        mask = inputs["attention_mask"].unsqueeze(-1)
        mean: Tensor = (hidden * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)
        return mean

    description = "the average of its tokens" + _after(prompt or "")
    return TextEncoder(network, tokenizer, average, prompt or "", None, False, description)


def _after(prompt: str) -> str:
    return f", after the prompt {prompt!r}" if prompt else ""


def _sentence_encoder(folder: Path, where: str, device: torch.device, given: str | None) -> TextEncoder:
    paths = _checked_modules(folder, where)
    tokenizer = load_tokenizer(paths["Transformer"], where)
    from sentence_transformers import SentenceTransformer

    with refusing("cannot be loaded as a sentence encoder", where=where, fix=_FIX):
        library = SentenceTransformer(
            str(folder),
            device=str(device),
            local_files_only=True,
            model_kwargs={"use_safetensors": True, "dtype": torch.float32},
        ).eval()
        model = library.transformers_model
        own = library.prompts.get(library.default_prompt_name or "") or ""
        prompt = own if given is None else given
        # Where the average leaves out the prompt, it wants to know its tokens: those before the end of a text.
        tokens = len(tokenizer(prompt)["input_ids"]) - structural_places(tokenizer)[1]
    if not isinstance(model, PreTrainedModel):
        raise MukiError("its first module is no network for texts", where=where, fix=_FIX)

    def vectors(inputs: Mapping[str, Tensor]) -> Tensor:
        known: dict[str, Any] = dict(inputs) | ({"prompt_length": tokens} if prompt else {})
        answer: Tensor = library(known)["sentence_embedding"]
        return answer

    description = _pooling(library) + _after(prompt)
    is_lower = bool(_settings(paths["Transformer"]).get("do_lower_case", False))
    return TextEncoder(model, tokenizer, vectors, prompt, library.max_seq_length, is_lower, description)


def _checked_modules(folder: Path, where: str) -> dict[str, Path]:
    """The folder of each kind of module.

    Raises:
        MukiError: There is one that is not known, or that has pickled weights; or the first is no Transformer.
    """
    modules = locations.read_modules(folder)
    kinds = [module["type"].rpartition(".")[2] for module in modules]
    unknown = [
        module["type"]
        for module, kind in zip(modules, kinds, strict=True)
        if kind not in _KNOWN or not module["type"].startswith(_LIBRARY)
    ]
    if unknown:
        what = f"its {locations.MODULES} names modules that are not known: {shortlist(unknown)}"
        raise MukiError(what, where=where, fix=_FIX)
    if kinds[0] != "Transformer" or kinds.count("Transformer") > 1:
        what = f"its {locations.MODULES} names {kinds}, which does not begin with the one Transformer"
        raise MukiError(what, where=where, fix=_FIX)
    paths = [folder / module["path"] for module in modules]
    for path, kind in zip(paths, kinds, strict=True):
        if kind in ("Dense", "LayerNorm") and not exists(path / "model.safetensors"):
            fix = "Save the sentence encoder again with its library, which writes safetensors"
            raise MukiError(f"its module {path.name} has no weights in safetensors", where=where, fix=fix)
    return dict(zip(kinds, paths, strict=True))


def _settings(folder: Path) -> dict[str, Any]:
    path = folder / "sentence_bert_config.json"
    return read_json(path, "Save the sentence encoder again") if exists(path) else {}


def _pooling(library: Any) -> str:
    """The modules behind the network, for a person: `pooling cls, dense, normalize`."""
    steps = [(type(module).__name__.lower(), getattr(module, "pooling_mode", None)) for module in list(library)[1:]]
    return ", ".join(f"{kind} {mode}" if mode else kind for kind, mode in steps)
