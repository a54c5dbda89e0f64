"""A teacher's answers to some texts, and what its head reads of them: found by key, or made and stored.

Keys, files and manifests need no network. So a command that finds everything finished answers without torch, whose
import takes seconds; it is imported for the first texts that have to be labelled.

Features (`label.features`) come from one pass without dropout and have keys of their own: a teacher whose labels are
finished does not label again, and features that are finished are not computed again.
"""

import logging
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from muki_pipeline.config import Dtype, Label
from muki_pipeline.layout import Layout
from muki_pipeline.models.teachers import TeacherFiles
from muki_pipeline.progress import SILENT, Task
from muki_pipeline.store import schema
from muki_pipeline.store.columns import fixed_size_lists
from muki_pipeline.store.keys import canonical_key
from muki_pipeline.store.store import Shard

if TYPE_CHECKING:
    from muki_pipeline.labelling.labeller import Labeller

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class StoredTeacher:
    """A located teacher with its settings, which together determine its answers to any texts, and so their keys.

    It can be pickled: the other process loads the weights for itself.

    Attributes:
        files: The teacher.
        settings: The `label` block, with a dtype other than `auto`.
        layout: Where finished work lies.
    """

    files: TeacherFiles
    settings: Label
    layout: Layout

    @property
    def dtype(self) -> Dtype:
        """Its arithmetic."""
        if self.settings.dtype == "auto":
            raise ValueError("a teacher's answers need a named arithmetic: see labelling/arithmetic.py")
        return self.settings.dtype

    @cached_property
    def labeller(self) -> "Labeller":
        """What computes."""
        from muki_pipeline.labelling.labeller import Labeller  # imports torch: not before there is something to compute

        return Labeller(self.files, self.settings)

    def release(self) -> None:
        """Let go of the network; it is loaded again where it is needed again."""
        self.__dict__.pop("labeller", None)

    def key(self, corpus_digest: str) -> str:
        """What the labels of a shard with this content are stored under: SHA-256 of everything that determines them."""
        return canonical_key(self._facts(corpus_digest))

    @property
    def cost(self) -> int:
        """How often a text goes through its network."""
        return self.settings.passes + 1

    def is_answered(self, texts: pa.Table) -> NDArray[np.bool_]:
        """`[texts]`, whether it answers a text: a network answers all."""
        return np.ones(len(texts), dtype=bool)

    def is_listed(self, texts: pa.Table) -> NDArray[np.bool_]:
        """The same: a network lacks no text."""
        return self.is_answered(texts)

    def logits(self, texts: list[str], task: Task = SILENT) -> NDArray[np.float32]:
        """Logits `[texts, labels]` without dropout."""
        return self.labeller.logits(texts, task)

    @property
    def plain_key(self) -> str:
        """SHA-256 of everything that determines its answers without dropout, except for the texts."""
        return canonical_key(self._plain_facts("") | {"labels": list(self.files.labels), "code": schema.LABELS_VERSION})

    def find_labels(self, corpus_digest: str) -> Shard | None:
        """The labels of texts with this digest, if they are finished."""
        return self.layout.store(self.layout.work / "labels").find(self.key(corpus_digest))

    def find_features(self, corpus_digest: str) -> Shard | None:
        """What its head reads of texts with this digest, if that is finished."""
        key = canonical_key(self._plain_facts(corpus_digest))
        return self.layout.store(self.layout.work / "features").find(key)

    def labels(self, texts: pa.Table, corpus_digest: str, task: Task = SILENT) -> Shard:
        """The labels of some texts: found in the store, or made now and stored there.

        Args:
            texts: `id`, `text`.
            corpus_digest: `content_digest` of the texts.
            task: Receives the texts that went through the network.

        Raises:
            MukiError: See `Labeller.label`.
        """
        stored, key = self.find_labels(corpus_digest), self.key(corpus_digest)
        _LOG.info("%s: shard %s %s", self.files.name, key[:12], "is labelled now" if stored is None else "is there")
        if stored is None:
            labels = self.labeller.label(texts, task)
            metadata = self._facts(corpus_digest) | self.labeller.provenance
            stored = self.layout.store(self.layout.work / "labels").finish(key, labels, metadata)
        return stored

    def features(self, texts: pa.Table, corpus_digest: str, task: Task = SILENT) -> Shard:
        """What its head reads of some texts; see `labels`.

        Raises:
            MukiError: See `Labeller.features`.
        """
        stored = self.find_features(corpus_digest)
        if stored is None:
            features = self.labeller.features(texts["text"].to_pylist(), task)
            columns = {"id": texts["id"], "features": fixed_size_lists(features)}
            table = schema.arrow_table(schema.FEATURES, columns, size=features.shape[1])
            facts = self._plain_facts(corpus_digest)
            metadata = facts | {"width": features.shape[1]}
            stored = self.layout.store(self.layout.work / "features").finish(canonical_key(facts), table, metadata)
        return stored

    def _facts(self, corpus_digest: str) -> dict[str, Any]:
        """Everything that determines labels, as a label shard's footer says it."""
        return {
            "schema": schema.LABELS_VERSION,
            "teacher": self.files.name,
            "labels": list(self.files.labels),
            "teacher_digest": self.files.digest,
            "corpus_digest": corpus_digest,
            "passes": self.settings.passes,
            "seed": self.settings.seed,
            "max_length": self.settings.max_length,
            "dtype": self.dtype,
            "dropout_override": self.files.settings.dropout,
        }

    def _plain_facts(self, corpus_digest: str) -> dict[str, Any]:
        """Everything that determines what comes of a pass without dropout."""
        return {
            "schema": schema.FEATURES_VERSION,
            "teacher": self.files.name,
            "teacher_digest": self.files.digest,
            "corpus_digest": corpus_digest,
            "max_length": self.settings.max_length,
            "dtype": self.dtype,
        }
