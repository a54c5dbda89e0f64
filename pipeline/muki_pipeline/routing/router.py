"""The router: a scorer fitted to a corpus and its teachers, stored as arrays and JSON, so that it is fitted once."""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Self, get_origin

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from muki_pipeline.config import POSTERIORS
from muki_pipeline.corpus.table import corpus_digest
from muki_pipeline.engines.local import Threads
from muki_pipeline.errors import MukiError
from muki_pipeline.labels.space import LabelSpace
from muki_pipeline.labels.tables import NUMBER_SETTINGS, LabelledCorpus, is_answer_file
from muki_pipeline.layout import MAKE_GOLDEN, Layout
from muki_pipeline.routing.gate.gate import Estimate
from muki_pipeline.routing.inputs import RoutingInputs
from muki_pipeline.routing.scorers import SCORERS, Gated, Score, TeacherOutputs, gate_inputs, measure
from muki_pipeline.routing.silence import voting
from muki_pipeline.store import files, folders, schema
from muki_pipeline.store.keys import canonical_key

_LOG = logging.getLogger(__name__)
SUREST = "mc_entropy"
"""The confidence by which scorers other than the gate find texts that no teacher knows: every teacher has it."""
ROUTER_FACTS, _ARRAYS = "router.json", "arrays.safetensors"


@dataclass(frozen=True)
class Router:
    """Tells which teacher to trust on any text, given the teachers' outputs.

    Attributes:
        key: SHA-256 of everything that determines it.
        scorer: Name of its scorer.
        teachers: For each teacher, in order, see `LabelledCorpus.teacher_facts`.
        labels: The union of their labels.
        settings: Those of the `label` block that determine the teachers' numbers.
        encoder: Facts of the neutral encoder, see `NeutralEncoder.facts`; None where the scorer reads no embeddings.
        score: The fitted scorer.
    """

    key: str
    scorer: str
    teachers: dict[str, dict[str, Any]]
    labels: tuple[str, ...]
    settings: dict[str, Any]
    encoder: dict[str, Any] | None
    score: Score

    def __call__(self, outputs: TeacherOutputs) -> NDArray[np.float64]:
        """Scores `[rows, teachers]`, higher for the teacher that is more likely to be right; see `voting`."""
        return self.votes(self.scores(outputs), outputs)

    def scores(self, outputs: TeacherOutputs) -> NDArray[np.float64]:
        """The same, also of teachers that have no answer: how likely they would know one."""
        return np.asarray(self.score(outputs), dtype=np.float64)

    def familiarity(self, outputs: TeacherOutputs) -> NDArray[np.float64]:
        """`[rows]`, higher for a text that is more likely to have a label that some teacher knows.

        The gate has witnesses of its own, see `gate/scope.py`; by other scorers it is what the surest teacher says.
        """
        if isinstance(self.score, Gated):
            return self.score.gate.familiarity(gate_inputs(outputs))
        return np.asarray(measure(SUREST, outputs).max(axis=1))

    def votes(self, scores: NDArray[np.float64], outputs: TeacherOutputs) -> NDArray[np.float64]:
        """Scores by which nobody is chosen who has no answer."""
        return voting(scores, outputs.is_silent, self.scorer in POSTERIORS)

    @property
    def sharpening(self) -> NDArray[np.float64]:
        """`[teachers]`, the power of each teacher's probabilities at which it is sure enough to be learned from."""
        return self.score.gate.reader.sharpening if isinstance(self.score, Gated) else np.ones(len(self.teachers))

    @property
    def label_space(self) -> LabelSpace:
        """The union of the teachers' labels."""
        return LabelSpace(self.labels, tuple(np.array(each["columns"], np.intp) for each in self.teachers.values()))

    @property
    def estimate(self) -> Estimate | None:
        """What the gate knows about itself; None for other scorers and where there is no choice."""
        return self.score.gate.estimate if isinstance(self.score, Gated) and len(self.teachers) > 1 else None

    @classmethod
    def fit(cls, inputs: RoutingInputs, sample: TeacherOutputs) -> Self:
        """Fit the scorer to a sample of the corpus, see `RoutingInputs.sample`."""
        score = SCORERS[inputs.scorer].kind.fit(inputs.scorer, sample)
        facts = _facts(inputs.corpus)
        encoder = None if inputs.embeddings is None else inputs.embeddings.encoder
        return cls(router_key(inputs), inputs.scorer, **facts, encoder=encoder, score=score)

    def save(self, folder: Path) -> None:
        """Write `router.json` and `arrays.safetensors`; they replace the folder when everything is written."""
        arrays: dict[str, NDArray[Any]] = {}
        with folders.replacing_folder(folder) as unfinished:
            files.write_json(unfinished / ROUTER_FACTS, _pack(self, "", arrays))
            files.write_bytes(unfinished / _ARRAYS, safetensors.numpy.save(arrays))

    @staticmethod
    def is_in(folder: Path, key: str) -> bool:
        """Whether the router with this key is in a folder, as it was written."""
        return folders.is_sealed(folder) and files.read_json(folder / ROUTER_FACTS, MAKE_GOLDEN).get("key") == key

    @classmethod
    def load(cls, folder: Path) -> Self:
        """What `save` wrote.

        Raises:
            MukiError: There is no router, its files are not those that were written, another version wrote them, or
                another process replaces it.
        """
        if not folders.is_sealed(folder):
            what = "was changed" if files.exists(folder) else "there is no router"
            raise MukiError(what, where=str(folder), fix=MAKE_GOLDEN)
        router = cls._read(folder)
        if not cls.is_in(folder, router.key):  # its two files may be of two routers
            raise MukiError("was replaced while it was read", where=str(folder), fix="Run the command again")
        return router

    @classmethod
    def _read(cls, folder: Path) -> Self:
        """The router in a sealed folder."""
        content = files.read_json(folder / ROUTER_FACTS, MAKE_GOLDEN)
        if content["scorer"] not in SCORERS or content.get("version") != schema.ROUTER_VERSION:
            raise MukiError("was made by another version of this program", where=str(folder), fix=MAKE_GOLDEN)
        arrays = safetensors.numpy.load(files.read_bytes(folder / _ARRAYS, MAKE_GOLDEN))
        values = {name: content[name] for name in ("key", "scorer", "teachers", "settings", "encoder")}
        score = _unpack(SCORERS[content["scorer"]].kind, content["score"], "score", arrays)
        return cls(**values, labels=tuple(content["labels"]), score=score)


def router_key(inputs: RoutingInputs) -> str:
    """SHA-256 of everything that determines a router."""
    read = {f"labels of {name}": shards for name, shards in inputs.corpus.tables.shards.items()}
    if inputs.embeddings is not None:
        read |= {"embeddings": inputs.embeddings.shards, "names": [inputs.embeddings.name_shard]}
    answers = inputs.answers
    facts = {
        "version": [schema.ROUTER_VERSION, schema.GOLDEN_VERSION],  # the second one speaks for the scorers' numbers
        "scorer": inputs.scorer,
        "corpus": corpus_digest(inputs.corpus.shards),
        "order": inputs.corpus.teachers,  # a key sorts names, and a router has a score for each teacher in its place
        "answers": None if answers is None else [sorted(answers.columns.items()), sorted(answers.stands_for.items())],
        "read": {name: [shard.sha256 for shard in each] for name, each in read.items()},
    }
    return canonical_key(facts | _facts(inputs.corpus))


def load_or_fit(
    inputs: RoutingInputs,
    layout: Layout,
    sample: Callable[[], TeacherOutputs] | None = None,
) -> Router:
    """The router of these inputs: the published one, or the last of its scorer, or one that is fitted and stored now.

    Args:
        inputs: What it reads.
        layout: Where routers lie.
        sample: Gives the sample that it is fitted to; by default one is read.

    Raises:
        MukiError: See `RoutingInputs.sample`.
    """
    key, stored = router_key(inputs), layout.stored_router(inputs.scorer)
    with _storing(layout):
        for folder in (layout.router, stored):
            if Router.is_in(folder, key):
                return Router._read(folder)
    columns = SCORERS[inputs.scorer].columns
    router = Router.fit(inputs, sample() if sample is not None else inputs.sample(columns, Threads))
    with _storing(layout):
        router.save(stored)
    return router


def publish_router(router: Router, layout: Layout) -> None:
    """Make a router the project's, unless it is already. What somebody has changed there is moved away."""
    with _storing(layout):
        if not Router.is_in(layout.router, router.key):
            if (moved := folders.set_aside(layout.router, layout.work / "routers")) is not None:
                _LOG.warning(folders.MOVED, layout.router, moved)
            router.save(layout.router)


def _storing(layout: Layout) -> AbstractContextManager[None]:
    """Held while routers are stored and looked for, which takes a moment: several commands may do so at once."""
    return files.only_one(layout.work / "routers.lock", "storing a router", waits=True)


def _facts(corpus: LabelledCorpus) -> dict[str, Any]:
    """Teachers, labels and settings, as a router holds them."""
    networks = [footer for footer in corpus.tables.footers.values() if not is_answer_file(footer)]
    settings = {name: networks[0][name] for name in NUMBER_SETTINGS if name != "dtype"} if networks else {}
    return {"teachers": corpus.teacher_facts, "labels": corpus.label_space.labels, "settings": settings}


def _pack(value: Any, path: str, arrays: dict[str, NDArray[Any]]) -> Any:
    """A dataclass as JSON; its arrays go to `arrays` under their path."""
    if is_dataclass(value) and not isinstance(value, type):
        inner = {each.name: _pack(getattr(value, each.name), f"{path}.{each.name}", arrays) for each in fields(value)}
        return {"version": schema.ROUTER_VERSION, **inner} if isinstance(value, Router) else inner
    if isinstance(value, np.ndarray):
        arrays[path.lstrip(".")] = np.ascontiguousarray(value)
        return None
    return value


def _unpack(kind: Any, content: Any, path: str, arrays: Any) -> Any:
    """The inverse of `_pack` for a class of dataclass."""
    if isinstance(kind, type) and is_dataclass(kind):
        inner = {
            each.name: _unpack(each.type, content[each.name], f"{path}.{each.name}", arrays) for each in fields(kind)
        }
        return kind(**inner)
    if path in arrays:
        return arrays[path]
    return tuple(content) if get_origin(kind) is tuple else content
