"""The neutral encoder of a project on the disk: found and checked, with the key of what it makes of texts."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from muki_pipeline.config import Params
from muki_pipeline.errors import MukiError
from muki_pipeline.models import locations
from muki_pipeline.models.checks.folder_kinds import check_model_folder
from muki_pipeline.store import schema
from muki_pipeline.store.keys import canonical_key

if TYPE_CHECKING:
    from muki_pipeline.embedding.loaded_encoder import LoadedEncoder


@dataclass(frozen=True)
class NeutralEncoder:
    """The encoder of the `embed` block, found and checked.

    Attributes:
        params: All settings; used are `embed` and the device of `label`.
        name: What it is called in params.yaml.
        folder: Where its files lie.
        digest: SHA-256 over its files.
    """

    params: Params
    name: str
    folder: Path
    digest: str

    def key(self, texts_digest: str) -> str:
        """What the embeddings of texts with this digest are stored under."""
        return canonical_key(self.facts | {"texts": texts_digest})

    @property
    def facts(self) -> dict[str, Any]:
        """Everything that determines an embedding, except for the text."""
        prompt = self.params.embed.prompt
        return {
            "schema": schema.EMBEDDINGS_VERSION,
            "encoder_digest": self.digest,
            "max_length": self.params.embed.max_length,
            **({} if prompt is None else {"prompt": prompt}),
        }

    @cached_property
    def loaded(self) -> "LoadedEncoder":
        """What computes.

        Raises:
            MukiError: See `LoadedEncoder`; its files have changed since they were found.
        """
        # Imports torch, which takes seconds: not before there is a text to embed.
        from muki_pipeline.embedding.loaded_encoder import LoadedEncoder

        loaded = LoadedEncoder(self.folder, self.name, self.params.embed, self.params.label)
        if _digest(self.folder) != self.digest:
            raise MukiError("its files were changed while they were read", where=self.name, fix="Run the command again")
        return loaded


def find_encoder(params: Params, root: Path) -> NeutralEncoder:
    """The encoder that the settings name, the student's pretrained model by default.

    Args:
        params: All settings.
        root: What a relative model path is relative to.

    Raises:
        MukiError: No such model.
    """
    name, revision = params.encoder
    folder = locations.model_folder(name, root, revision=revision)
    check_model_folder(folder, name)
    return NeutralEncoder(params, name, folder, _digest(folder))


def _digest(folder: Path) -> str:
    return locations.model_digest(folder, locations.model_files(folder))
