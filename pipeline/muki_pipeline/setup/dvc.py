"""dvc.yaml, made from the settings: each stage with every file and folder that it reads, and no other."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from muki_pipeline import strict_yaml
from muki_pipeline.blocks import AnswerFile, AnyTeacher, Block, Source
from muki_pipeline.config import Params, Training
from muki_pipeline.corpus.readers import watched
from muki_pipeline.errors import MukiError, shortlist
from muki_pipeline.layout import Layout
from muki_pipeline.models import locations
from muki_pipeline.models.kinds import adapters
from muki_pipeline.store import files
from muki_pipeline.store.files import expanded
from muki_pipeline.store.keys import canonical_key

FILE = "dvc.yaml"
HEADER = "# Written by muki-pipeline from params.yaml. Write it anew with muki-pipeline dvc.\n"
_BLOCKS = ("label", "embed", "integrate", "student", "evaluate")
_FIX = "Run muki-pipeline dvc"
_EVAL = "data/eval"


def render(
    params: Params, layout: Layout, header: str = HEADER, code: Mapping[str, Iterable[str]] | None = None
) -> str:
    """The content of dvc.yaml.

    Args:
        params: All settings.
        layout: Where the project lies.
        header: Comments above it.
        code: For the name of a command, files and folders of code that its stages depend on as well.

    Raises:
        MukiError: See `stages`.
    """
    return header + strict_yaml.write({"stages": stages(params, layout, code), "plots": _plots(params)})


def _seal(content: str) -> str:
    """The line that tells whether a file is still as it was written."""
    return f"# {canonical_key({'content': content})}\n"


def _is_as_written(content: str) -> bool:
    seal, _, rest = content.removeprefix(HEADER).partition("\n")
    return content.startswith(HEADER) and f"{seal}\n" == _seal(rest)


def write(params: Params, layout: Layout, *, force: bool = False) -> Path:
    """Write dvc.yaml beside params.yaml.

    Raises:
        MukiError: One is there that somebody has written or edited; see `stages`.
    """
    path = layout.root / FILE
    if files.exists(path) and not force and not _is_as_written(files.read_bytes(path, _FIX).decode(errors="replace")):
        fix = "Change it by hand, keep stages of your own in another folder's dvc.yaml, or overwrite it with --force"
        raise MukiError("was written or edited by somebody", where=str(path), fix=fix)
    files.write_bytes(path, sealed(params, layout).encode())
    return path


def sealed(params: Params, layout: Layout) -> str:
    """The content of dvc.yaml, with the line that tells later whether somebody has edited it.

    Raises:
        MukiError: See `stages`.
    """
    content = render(params, layout, header="")
    return HEADER + _seal(content) + content


def check(params: Params, layout: Layout) -> None:
    """Refuse a dvc.yaml that does not fit the settings: DVC would call old results up to date, or miss what is gone.

    More dependencies, parameters of keys that are set, outputs and stages of somebody's own are welcome.

    Raises:
        MukiError: A stage, or a dependency, parameter or output of one, is missing or no longer asked for.
    """
    path = layout.root / FILE
    if not files.exists(path):
        return
    try:
        found = strict_yaml.read(files.read_bytes(path, _FIX).decode())["stages"]
    except (strict_yaml.YAMLError, UnicodeDecodeError, TypeError, KeyError) as error:
        raise MukiError(f"lists no stages ({error})", where=str(path), fix=_FIX) from None
    made = stages(params, layout)
    for name, wanted in made.items():
        there = found.get(name)
        if not isinstance(there, dict):
            raise MukiError(f"has no stage {name}, which params.yaml asks for", where=str(path), fix=_FIX)
        for kind in ("deps", "params", "outs"):
            entries, asked = _names(there.get(kind)), wanted.get(kind, ())
            if missing := [each for each in asked if each not in entries]:
                what = f"stage {name} lacks {shortlist(missing)} among its {kind}, which params.yaml asks for"
                raise MukiError(what, where=str(path), fix=_FIX)
            if gone := [each for each in entries if each not in asked and _is_gone(kind, each, params)]:
                what = f"stage {name} has {shortlist(gone)} among its {kind}, which params.yaml no longer asks for"
                raise MukiError(what, where=str(path), fix=_FIX)
    if gone := [name for name, stage in found.items() if name not in made and _is_ours(name, stage)]:
        raise MukiError(f"has a stage {gone[0]}, which params.yaml no longer asks for", where=str(path), fix=_FIX)


def _names(entries: Any) -> list[str]:
    """Dependencies, parameters or outputs by name: DVC lets each also map to its options, or a file to its keys."""
    return [name for each in entries or () for name in (each if isinstance(each, dict) else [each])]


def _is_gone(kind: str, name: str, params: Params) -> bool:
    """Whether a stage has something of ours that no setting asks for, so that DVC misses it."""
    if kind == "outs":
        return name == _EVAL
    return kind == "params" and name.partition(".")[0] in Params.model_fields and not _is_set(params, name)


def _is_set(params: Params, key: str) -> bool:
    """Whether params.yaml sets a key: DVC stops at others."""
    place: Any = params
    for part in key.split("."):
        known = place.model_fields_set if isinstance(place, Block) else place
        if not isinstance(known, set | dict) or part not in known:
            return False
        place = getattr(place, part) if isinstance(place, Block) else place[part]
    return True


def _is_ours(name: str, stage: Any) -> bool:
    """Whether a stage is one that we write: its name says which, and its command is that one alone."""
    command = str(stage.get("cmd")) if isinstance(stage, dict) else ""
    kind, _, teacher = name.rpartition("-")
    if kind in ("label", "train-teacher"):
        return command == f"muki-pipeline {kind} --teacher {teacher}"
    return command == f"muki-pipeline {name}" == "muki-pipeline evaluate"


def stages(
    params: Params, layout: Layout, code: Mapping[str, Iterable[str]] | None = None
) -> dict[str, dict[str, Any]]:
    """The stages, by name, as dvc.yaml lists them.

    Raises:
        MukiError: A block of params.yaml is missing, or a source cannot be watched.
    """
    if missing := [name for name in _BLOCKS if name not in params.model_fields_set]:
        what = f"has no block {missing[0]}, whose changes DVC should notice"
        raise MukiError(what, where=str(layout.root / "params.yaml"), fix=f"Write {missing[0]}: {{}}")
    made = _Stages(params, layout, code or {})
    found = {"prepare": made.prepare()}
    for name in params.train_teacher.teachers if params.train_teacher else ():
        found[f"train-teacher-{name}"] = made.train_teacher(name)
    found |= {f"label-{name}": made.label(name) for name in params.teachers}
    found |= {"embed": made.embed(), "integrate": made.integrate(), "train-student": made.train_student()}
    if has_gold(params):
        found["evaluate"] = made.evaluate()
    return found


def has_gold(params: Params) -> bool:
    """Whether there are gold labels to measure with."""
    return params.prepare.test is not None or params.prepare.corpus.label is not None


class _Stages:
    """Each stage of a project."""

    def __init__(self, params: Params, layout: Layout, code: Mapping[str, Iterable[str]]) -> None:
        self.params, self.layout, self.code = params, layout, code

    def prepare(self) -> dict[str, Any]:
        deps = [self._source(each) for each in self.params.prepare.sources]
        outs = ["data/corpus", *([_EVAL] if has_gold(self.params) else [])]
        return self._stage("prepare", deps, ["prepare", *self._store()], outs)

    def train_teacher(self, name: str) -> dict[str, Any]:
        assert self.params.train_teacher is not None
        deps = ["data/eval/teacher_train.parquet", self._base(self.params.train_teacher.settings_of(name))]
        read = ["train_teacher.settings", f"train_teacher.teachers.{name}"]
        return self._stage("train-teacher", deps, read, [f"data/teachers/{name}"], f"--teacher {name}")

    def label(self, name: str) -> dict[str, Any]:
        deps = ["data/corpus", *self._teacher(self.params.teachers[name])]
        read = ["label", f"teachers.{name}", *self._store()]
        return self._stage("label", deps, read, [f"data/labels/{name}"], f"--teacher {name}")

    def embed(self) -> dict[str, Any]:
        # A teacher that is gone takes its labels with it, and DVC notices no dependency that goes.
        read = ["embed", "teachers", self._key("integrate", "aliases"), *self._encoder_settings(), *self._store()]
        return self._stage("embed", ["data/corpus", *self._labels(), self._encoder()], read, ["data/embeddings"])

    def integrate(self) -> dict[str, Any]:
        answers = self.params.integrate.answers
        deps = ["data/corpus", "data/embeddings", *self._labels(), answers and answers.rpartition("@")[0]]
        # A new teacher is no dependency of a stage that is there, and `label` changes nothing in a file of answers.
        read = ["integrate", "label", "teachers", self._key("student", "temperature"), *self._store()]
        return self._stage("integrate", deps, read, ["data/golden", "data/router"])

    def train_student(self) -> dict[str, Any]:
        return self._stage(
            "train-student", ["data/golden", self._base(self.params.student)], ["student"], ["data/student"]
        )

    def evaluate(self) -> dict[str, Any]:
        tables = [f"data/{name}" for name in ("corpus", "embeddings", "eval", "golden", "router", "student")]
        tables += self._labels()
        models = [path for teacher in self.params.teachers.values() for path in self._teacher(teacher)]
        read = ["teachers", "label", "embed", "integrate", "evaluate", *self._encoder_settings()]
        read += [self._key("student", key) for key in ("temperature", "max_length")]
        stage = self._stage("evaluate", [*tables, *models, self._encoder()], read, ["data/plots"])
        return stage | {"metrics": [{"data/metrics.json": {"cache": False}}]}

    def _stage(
        self, command: str, deps: Iterable[str | None], read: Iterable[str], outs: list[str], option: str = ""
    ) -> dict[str, Any]:
        """One stage; what is None is no file of this disk."""
        wanted = sorted({each for each in (*deps, *self.code.get(command, ())) if each})
        for path in wanted:
            if (self.layout.root / "data").resolve().is_relative_to((self.layout.root / path).resolve()):
                fix = "Move what is read from it into a folder of its own"
                raise MukiError("holds what the stages write, so DVC cannot watch it", where=path, fix=fix)
        cmd = " ".join(["muki-pipeline", command, *([option] if option else [])])
        return {"cmd": cmd, **({"deps": wanted} if wanted else {}), "params": sorted(set(read)), "outs": outs}

    def _labels(self) -> list[str]:
        return [f"data/labels/{name}" for name in self.params.teachers]

    def _store(self) -> list[str]:
        return ["store"] if self.params.store else []

    def _set(self, block: str, *keys: str) -> list[str]:
        return [f"{block}.{key}" for key in keys if _is_set(self.params, f"{block}.{key}")]

    def _key(self, block: str, key: str) -> str:
        """A key, or its block where it is not set: DVC stops at a key that is not there, and misses one that goes."""
        return next(iter(self._set(block, key)), block)

    def _encoder_settings(self) -> list[str]:
        return self._set("student", "model", "revision") if self.params.embed.model is None else []

    def _encoder(self) -> str | None:
        return self._model(self.params.embed.model or self.params.student.model)

    def _base(self, training: Training) -> str | None:
        return self._model(training.model)

    def _teacher(self, teacher: AnyTeacher) -> list[str | None]:
        if isinstance(teacher, AnswerFile):
            return [self._path(Path(teacher.answers))]
        is_here = not teacher.model.startswith(locations.PACKAGE)
        folder = locations.local(teacher.model, self.layout.root) if is_here else None
        is_adapter = folder is not None and adapters.is_adapter(folder)
        base = adapters.base_reference(folder, teacher) if folder is not None and is_adapter else None
        return [self._model(teacher.model), *([self._model(base)] if base else [])]

    def _model(self, model: str) -> str | None:
        if model.startswith(locations.PACKAGE):
            return None
        is_path = locations.local(model, self.layout.root) is not None or locations.looks_like_path(model)
        return self._path(Path(model)) if is_path else None

    def _source(self, source: Source) -> str | None:
        found = watched(source.source, self.layout.root)
        return None if found is None else self._path(found)

    def _path(self, path: Path) -> str:
        """As dvc.yaml writes it: relative to the project where it lies inside."""
        full = self.layout.root / expanded(path)
        short = full.relative_to(self.layout.root) if full.is_relative_to(self.layout.root) else full
        return short.as_posix().replace("${", "\\${")  # DVC puts settings in place of ${...}, and this is a name


def _plots(params: Params) -> list[Any]:
    """What `dvc plots show` shows of the tables that there are."""
    curve = {"data/student/training_curve.csv": ["loss", "validation_loss"]}
    plots: list[Any] = [{"training": {"title": "The student's loss", "template": "linear", "x": "step", "y": curve}}]
    if params.prepare.test is not None:
        title = "Test set, actual and predicted labels"
        answers = {"data/plots/confusion.csv": "predicted"}
        plots.append({"confusion": {"title": title, "template": "confusion", "x": "actual", "y": answers}})
    if params.prepare.corpus.label is not None:
        plots.append("data/plots/uncertainty.png")
    return plots
