"""A neutral encoder in memory: what its folder makes of a text, or its last layer's average, scaled to length 1."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from muki_pipeline.config import Embed, Label
from muki_pipeline.embedding.text_encoder import load_text_encoder
from muki_pipeline.errors import MukiError
from muki_pipeline.models.batching import by_token_budget, collate, tokenise
from muki_pipeline.models.checks.reading import check_reading
from muki_pipeline.models.devices import choose_device, token_budget
from muki_pipeline.models.tokenizers import check_length
from muki_pipeline.progress import SILENT, Task


class LoadedEncoder:
    """An encoder that is ready to read texts.

    Args:
        folder: The model.
        name: What errors call it.
        embed: The `embed` block: longest text in tokens, at less than which its folder may cut texts; prompt.
        settings: The `label` block: device and size of batches.

    Raises:
        MukiError: It cannot be loaded, or does not read texts of this length, or its numbers depend on the batch.
    """

    def __init__(self, folder: Path, name: str, embed: Embed, settings: Label) -> None:
        self.name, self.max_length = name, embed.max_length
        self._device = choose_device(settings.device)
        self._budget = token_budget(settings, self._device)
        encoder = load_text_encoder(folder, name, self._device, embed.prompt)
        check_length(encoder.model, encoder.tokenizer, self.max_length, name, "embed.max_length")
        fix = "Set embed.model to a text encoder of another architecture"
        with torch.no_grad():
            check_reading(encoder.model, encoder.tokenizer, encoder.vectors, self.max_length, name, fix)
        self._encoder = encoder
        taken = len(encoder.tokenizer(encoder.prompt)["input_ids"]) if encoder.prompt else 0
        if 2 * taken > self.max_length:
            what = f"its prompt takes {taken} of the {self.max_length} tokens of embed.max_length"
            raise MukiError(what, where=name, fix="Shorten embed.prompt, or raise embed.max_length")
        self._length = min(encoder.longest or self.max_length, self.max_length)

    @property
    def description(self) -> str:
        """How it makes one vector of a text, and how long texts may be, for a person."""
        cut = "" if self._length == self.max_length else f", texts cut at its own {self._length} tokens"
        return f"{self._encoder.description}{cut}"

    @torch.inference_mode()
    def embed(self, texts: list[str], task: Task = SILENT) -> NDArray[np.float32]:
        """Embeddings `[texts, size]`, each of length 1; a text without tokens is all zeros.

        Args:
            texts: The texts.
            task: Counts the texts that went through the network.

        Raises:
            MukiError: Its output is NaN or infinite.
        """
        encoder = self._encoder
        tokens = tokenise(encoder.tokenizer, encoder.prepared(texts), self._length)
        parts, order = [], by_token_budget(tokens.lengths, self._budget)
        for rows in order:
            inputs = collate(tokens, rows, encoder.model.config.pad_token_id, self._device).inputs
            parts.append(torch.nn.functional.normalize(encoder.vectors(inputs).float(), dim=-1).cpu().numpy())
            task.advance(len(rows))
        embeddings = np.zeros((len(texts), parts[0].shape[1] if parts else 0), dtype=np.float32)
        for rows, part in zip(order, parts, strict=True):
            embeddings[rows] = part
        if not np.isfinite(embeddings).all():
            raise MukiError("its embeddings are NaN or infinite", where=self.name, fix="Use another embed.model")
        return embeddings
