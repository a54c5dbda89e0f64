"""A neutral encoder: the average of its last layer over a text's tokens, scaled to length 1."""

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModel, PreTrainedModel, PreTrainedTokenizerBase

from pipeline.config import Params
from pipeline.errors import MukiError, refusing
from pipeline.models import locations
from pipeline.models.batching import by_token_budget, collate, tokenise
from pipeline.models.checks.folder_kinds import check_model_folder
from pipeline.models.devices import choose_device, token_budget
from pipeline.models.tokenizers import align_padding, load_tokenizer
from pipeline.progress import SILENT, Task
from pipeline.tables import schema
from pipeline.tables.keys import canonical_key


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

    @cached_property
    def _loaded(self) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        tokenizer = load_tokenizer(self._folder, self.name)
        fix = "Set embed.model to a folder or hub id of one"
        with refusing("cannot be loaded as a text encoder", where=self.name, fix=fix):
            model = AutoModel.from_pretrained(self._folder, use_safetensors=True, dtype=torch.float32)
        align_padding(model, tokenizer)
        return model.eval().to(self._device), tokenizer

    @torch.inference_mode()
    def embed(self, texts: list[str], task: Task = SILENT) -> NDArray[np.float32]:
        """Embeddings `[texts, size]`, each of length 1; a text without tokens is all zeros.

        Args:
            texts: The texts.
            task: Told of the texts that went through the network.

        Raises:
            MukiError: The encoder cannot be loaded, or its output is NaN or infinite.
        """
        model, tokenizer = self._loaded
        tokens = tokenise(tokenizer, texts, self.settings.max_length)
        embeddings = np.zeros((len(texts), int(model.config.hidden_size)), dtype=np.float32)
        for rows in by_token_budget(tokens.lengths, self._budget):
            inputs = collate(tokens, rows, model.config.pad_token_id, self._device).inputs
            hidden = model(**inputs).last_hidden_state  # [batch, tokens, size]
            mask = inputs["attention_mask"].unsqueeze(-1)
            average = (hidden * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)
            embeddings[rows] = torch.nn.functional.normalize(average, dim=-1).cpu().numpy()
            task.advance(len(rows))
        if not np.isfinite(embeddings).all():
            raise MukiError("its embeddings are NaN or infinite", where=self.name, fix="Use another embed.model")
        return embeddings
