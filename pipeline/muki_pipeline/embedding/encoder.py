"""A neutral encoder: what its folder makes of a text, or the average of its last layer, scaled to length 1."""

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from muki_pipeline.config import Params
from muki_pipeline.embedding.text_encoder import TextEncoder, load_text_encoder
from muki_pipeline.errors import MukiError
from muki_pipeline.models import locations
from muki_pipeline.models.batching import by_token_budget, collate, tokenise
from muki_pipeline.models.checks.folder_kinds import check_model_folder
from muki_pipeline.models.checks.reading import check_reading
from muki_pipeline.models.devices import choose_device, token_budget
from muki_pipeline.models.tokenizers import check_length
from muki_pipeline.progress import SILENT, Task
from muki_pipeline.store import schema
from muki_pipeline.store.keys import canonical_key


class NeutralEncoder:
    """The encoder of the `embed` block; its weights are loaded when the first text needs them.

    Args:
        params: All settings; used are `embed`, the student's model, and the device of `label`.
        root: What a relative model path is relative to.

    Attributes:
        digest: SHA-256 over its files.

    Raises:
        MukiError: No such model.
    """

    def __init__(self, params: Params, root: Path) -> None:
        self.settings = params.embed
        is_students = params.embed.model is None
        self.name = params.student.model if is_students else str(params.embed.model)
        revision = params.student.revision if is_students else params.embed.revision
        self._folder = locations.model_folder(self.name, root, revision=revision)
        check_model_folder(self._folder, self.name)
        self.digest = locations.model_digest(self._folder, locations.model_files(self._folder))
        self._device = choose_device(params.label.device)
        self._budget = token_budget(params.label, self._device)

    def key(self, texts_digest: str) -> str:
        """What the embeddings of texts with this digest are stored under."""
        return canonical_key(self.facts | {"texts": texts_digest})

    @property
    def facts(self) -> dict[str, Any]:
        """Everything that determines an embedding, except for the text."""
        return {
            "schema": schema.EMBEDDINGS_VERSION,
            "encoder_digest": self.digest,
            "max_length": self.settings.max_length,
        }

    @property
    def description(self) -> str:
        """How it makes one vector of a text, and how long texts may be, for a person."""
        cut = "" if self._length == self.settings.max_length else f", texts cut at its own {self._length} tokens"
        return f"{self._loaded.description}{cut}"

    @property
    def _length(self) -> int:
        longest = self._loaded.longest
        return self.settings.max_length if longest is None else min(longest, self.settings.max_length)

    @cached_property
    def _loaded(self) -> TextEncoder:
        encoder = load_text_encoder(self._folder, self.name, self._device)
        check_length(encoder.model, encoder.tokenizer, self.settings.max_length, self.name, "embed.max_length")
        fix = "Set embed.model to a text encoder of another architecture"
        with torch.no_grad():
            check_reading(encoder.model, encoder.tokenizer, encoder.vectors, self.settings.max_length, self.name, fix)
        return encoder

    @torch.inference_mode()
    def embed(self, texts: list[str], task: Task = SILENT) -> NDArray[np.float32]:
        """Embeddings `[texts, size]`, each of length 1; a text without tokens is all zeros.

        Args:
            texts: The texts.
            task: Counts the texts that went through the network.

        Raises:
            MukiError: The encoder cannot be loaded, or its output is NaN or infinite.
        """
        encoder = self._loaded
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
