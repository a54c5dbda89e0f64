"""The teachers and their router, asked about any texts: what the student is to learn, without the student."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from muki_pipeline.blocks import AnswerFile
from muki_pipeline.config import Params
from muki_pipeline.corpus.table import content_digest, with_ids
from muki_pipeline.embedding.encoder import NeutralEncoder, find_encoder
from muki_pipeline.errors import MukiError
from muki_pipeline.labelling.answer_file.reading import describe
from muki_pipeline.labelling.answer_file.store import StoredAnswers
from muki_pipeline.labelling.store import StoredTeacher
from muki_pipeline.labels.space import unite
from muki_pipeline.labels.tables import LabelShard
from muki_pipeline.layout import MAKE_GOLDEN, Layout, make_labels
from muki_pipeline.models.teachers import locate
from muki_pipeline.progress import SILENT, Progress
from muki_pipeline.routing.confidence import softmax
from muki_pipeline.routing.router import Router
from muki_pipeline.routing.scorers import SCORERS, TeacherOutputs
from muki_pipeline.store.columns import arrow
from muki_pipeline.supervision.strategies import golden_targets, hard_weights


@dataclass(frozen=True)
class RoutedTeachers:
    """Each text gets the answer of the teacher that the router trusts most.

    Attributes:
        router: The project's.
        teachers: The teachers in the router's order, with the arithmetic that the corpus was labelled in.
        encoder: The neutral encoder, None where the router reads no embeddings.
    """

    router: Router
    teachers: Mapping[str, StoredTeacher | StoredAnswers]
    encoder: NeutralEncoder | None

    @property
    def labels(self) -> tuple[str, ...]:
        """The union of the teachers' labels."""
        return self.router.labels

    @property
    def key(self) -> str:
        """SHA-256 of everything that determines an answer, except for the text."""
        return self.router.key

    def probs(self, texts: list[str], progress: Progress = SILENT) -> NDArray[np.float32]:
        """Probabilities `[texts, union]`, those of the trusted teacher.

        The texts are labelled like a corpus shard and stored in the work folder, so that this is done only once.
        Networks are loaded one after another: all of them need not fit into memory.

        Args:
            texts: The texts.
            progress: Counts the texts that go through each network.

        Raises:
            MukiError: A file of answers lacks some, or no teacher answers some; see `Labeller.label` and
                `LoadedEncoder`.
        """
        table = arrow(with_ids(pl.DataFrame({"text": pl.Series(texts, dtype=pl.String)})))
        self._check_answered(table, texts)
        digest, columns = content_digest(table), sorted({*SCORERS[self.router.scorer].columns, "logits"})
        labels = []
        for name, teacher in self.teachers.items():
            total = len(texts) * teacher.cost
            stored = teacher.labels(table, digest, progress.begin(f"{name} for routing", total, "texts x passes"))
            self._release(teacher)
            labels.append(LabelShard.read(stored, columns, stored.footer()))
        outputs = TeacherOutputs(None, labels, self.router.label_space)
        if self.encoder is not None:
            task = progress.begin("embed", len(texts), "texts")
            vectors = self.encoder.loaded.embed(texts, task)
            outputs = TeacherOutputs(texts, labels, self.router.label_space, vectors)
        pairs = zip(labels, self.router.sharpening.tolist(), strict=True)
        distributions = [softmax(factor * shard.logits) for shard, factor in pairs]
        return golden_targets(hard_weights(self.router(outputs)), distributions, self.router.label_space)

    def logits(self, name: str, progress: Progress, texts: list[str]) -> NDArray[np.float32]:
        """Logits `[texts, labels]` of one teacher without dropout; see `probs`."""
        teacher = self.teachers[name]
        logits = teacher.logits(texts, progress.begin(f"{name} on its own labels", len(texts), "texts"))
        self._release(teacher)
        return logits

    def is_answered(self, texts: list[str]) -> NDArray[np.bool_]:
        """`[texts]`, whether some teacher answers a text, and no file of answers lacks it.

        A file that has the text without an answer ("none of these") leaves it to the others, as in the corpus.
        """
        table = arrow(with_ids(pl.DataFrame({"text": pl.Series(texts, dtype=pl.String)})))
        listed = [teacher.is_listed(table) for teacher in self.teachers.values()]
        found = [teacher.is_answered(table) for teacher in self.teachers.values()]
        return np.asarray(np.stack(listed).all(axis=0) & np.stack(found).any(axis=0))

    def _release(self, teacher: StoredTeacher | StoredAnswers) -> None:
        """Let go of a network if others need its room."""
        networks = [each for each in self.teachers.values() if isinstance(each, StoredTeacher)]
        if isinstance(teacher, StoredTeacher) and len(networks) > 1:
            teacher.release()

    def _check_answered(self, table: pa.Table, texts: list[str]) -> None:
        for name, teacher in self.teachers.items():
            if isinstance(teacher, StoredAnswers) and not (listed := teacher.is_listed(table)).all():
                missing = [texts[row] for row in np.flatnonzero(~listed)]
                what = (
                    f"has no answer of teacher {name} to {len(missing):,} of {len(texts):,} texts: {describe(missing)}"
                )
                raise MukiError(what, where=teacher.where, fix="Add them, or ask the student, who needs no teacher")
        if not (answered := self.is_answered(texts)).all():
            missing = [texts[row] for row in np.flatnonzero(~answered)]
            what = f"no teacher answers {len(missing):,} of {len(texts):,} texts: {describe(missing)}"
            raise MukiError(what, where="teachers", fix="Leave them out, or ask the student, who answers all")


def open_routed_teachers(params: Params, layout: Layout) -> RoutedTeachers:
    """The teachers of params.yaml with the router that `integrate` has stored.

    Raises:
        MukiError: There is no router; a teacher, the encoder or a setting is no longer what it was fitted with.
    """
    router, where = Router.load(layout.router), str(layout.router)
    if {*router.teachers} != {*params.teachers}:
        what = f"was fitted to the teachers {list(router.teachers)}, not {list(params.teachers)}"
        raise MukiError(what, where=where, fix=MAKE_GOLDEN)
    if changed := [name for name, value in router.settings.items() if getattr(params.label, name) != value]:
        what = f"was fitted to labels of another label.{changed[0]} ({router.settings[changed[0]]})"
        raise MukiError(what, where=where, fix="Run muki-pipeline label for every teacher, then integrate")
    union = unite({name: list(facts["labels"]) for name, facts in router.teachers.items()}, params.integrate.aliases)
    columns = [facts["columns"] for facts in router.teachers.values()]
    is_of_these = (router.labels, columns) == (union.labels, [each.tolist() for each in union.columns])
    if router.scorer != params.integrate.scorer or not is_of_these:
        raise MukiError("was fitted with another integrate.scorer or aliases", where=where, fix=MAKE_GOLDEN)
    teachers: dict[str, StoredTeacher | StoredAnswers] = {}
    for name in router.teachers:  # in its order: DVC does not see that of params.yaml
        teacher = params.teachers[name]
        if isinstance(teacher, AnswerFile):
            stored = StoredAnswers.locate(name, teacher, layout)
            digest = stored.digest
            teachers[name] = stored
        else:
            located = locate(name, teacher, layout.root)
            digest, facts = located.digest, router.teachers[name]
            if [*located.labels] != facts["labels"] or teacher.dropout != facts.get("dropout"):
                raise MukiError(f"teachers.{name} has changed", where=where, fix=f"{make_labels(name)}, then integrate")
            settings = params.label.model_copy(update={"dtype": router.teachers[name].get("dtype")})
            teachers[name] = StoredTeacher(located, settings, layout)
        if digest != router.teachers[name]["digest"]:
            raise MukiError(f"teacher {name} has changed", where=where, fix=f"{make_labels(name)}, then integrate")
    encoder = None if router.encoder is None else find_encoder(params, layout.root)
    if encoder is not None and encoder.facts != router.encoder:
        fix = "Run muki-pipeline embed, then integrate"
        raise MukiError("was fitted with another neutral encoder", where=where, fix=fix)
    return RoutedTeachers(router, teachers, encoder)
