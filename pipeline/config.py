"""pydantic models of params.yaml: every default and every bound, once."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, ValidationError, model_validator

from pipeline.errors import MukiError
from pipeline.layout import Layout

TeacherName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Share = Annotated[float, Field(ge=0, lt=1)]
Posterior = Literal["calibrated", "gate"]
POSTERIORS: tuple[str, ...] = get_args(Posterior)
"""Scorers whose scores are probabilities of being the right teacher, each row summing to 1."""
Scorer = (
    Literal["mc_entropy", "entropy", "mutual_information", "max_probability", "mc_max_probability", "energy"]
    | Posterior
)
Dtype = Literal["float32", "bfloat16"]
Device = Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")]


class Block(BaseModel):
    """A block of params.yaml: unknown keys are errors, values are read-only."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(Block):
    """Where texts come from: a CSV, TSV, Orange TAB, JSON Lines or Parquet file, or a `datasets` name.

    `source` may be a path, `package:DISTRIBUTION/PATH` (a file of an installed Python package), or the name of a
    data set on the Hugging Face hub, with `config` and `split`.
    """

    source: str = Field(min_length=1)
    text: str
    label: str | None = None
    config: str | None = None
    split: str = "train"


class Prepare(Block):
    """How the source becomes a corpus: which rows, and how many in a shard.

    `train-teacher` trains on the rows outside the corpus; with `teachers_see_corpus` on all rows, as in the paper.
    """

    corpus: Source
    test: Source | None = None
    labels: list[str] | None = None
    rows_per_label: PositiveInt | None = None
    teachers_see_corpus: bool = False
    shard_rows: PositiveInt = 10_000
    seed: Seed = 0

    @model_validator(mode="after")
    def _labels_are_known(self) -> Self:
        if self.test is not None and self.test.label is None:
            raise ValueError("test.label must name the label column: a test set without labels measures nothing")
        if self.corpus.label is None and (self.labels or self.rows_per_label or self.teachers_see_corpus):
            raise ValueError(
                "labels, rows_per_label and teachers_see_corpus go by label: corpus.label must name its column"
            )
        return self


class Training(Block):
    """How a classifier is trained, teacher or student."""

    model: str
    layers: PositiveInt | None = None
    batch_size: PositiveInt = 32
    learning_rate: PositiveFloat = 5e-5
    warmup: Share = 0.1
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    max_length: Annotated[int, Field(ge=4)] = 128
    seed: Seed = 0
    precision: Dtype = "float32"
    revision: str | None = None


class TeacherTraining(Training):
    """How `train-teacher` trains each teacher of the demo and of experiments."""

    steps: PositiveInt = 300


class TrainedTeacher(Block):
    """One of them: the labels that it knows, and what is not as in `settings`."""

    labels: Annotated[list[str], Field(min_length=2)]
    model: str | None = None
    layers: PositiveInt | None = None
    steps: PositiveInt | None = None
    learning_rate: PositiveFloat | None = None


class TrainTeacher(Block):
    """The teachers that this project trains itself, for the demo and for experiments."""

    settings: TeacherTraining
    teachers: dict[TeacherName, TrainedTeacher]

    def settings_of(self, name: str) -> TeacherTraining:
        """The settings of one teacher: the common ones, and what it has of its own."""
        return self.settings.model_copy(update=self.teachers[name].model_dump(exclude={"labels"}, exclude_none=True))


class Teacher(Block):
    """A fine-tuned classifier: a folder or a hub id, and what its files leave unsaid.

    `watch` is the path whose change makes DVC label again: the folder itself or, for a hub id pinned by `revision`,
    params.yaml.
    """

    model: str = Field(min_length=1)
    watch: str = Field(min_length=1)
    revision: str | None = None
    labels: list[str] | None = None
    dropout: Annotated[float, Field(gt=0, lt=1)] | None = None
    trust_remote_code: bool = False
    allow_pickle_weights: bool = False


class Label(Block):
    """Stage one: the dropout passes. `token_budget` and `device` cannot change a number.

    `dropout_layers` is an approximation: dropout in the encoder's last so many layers only, so that the layers before
    them run once a text and not once a pass.
    """

    passes: Annotated[int, Field(ge=2)] = 16
    dropout_layers: PositiveInt | None = None
    seed: Seed = 0
    max_length: Annotated[int, Field(ge=4)] = 128
    dtype: Dtype = "float32"
    token_budget: PositiveInt | Literal["auto"] = "auto"
    device: Device = "auto"


class Integrate(Block):
    """Stage two's supervision (method.md, points 4 to 7). `temperature` is the τ of the soft weights."""

    strategy: Literal["soft", "hard", "posterior", "concat", "uhc"] = "posterior"
    scorer: Scorer = "gate"
    temperature: PositiveFloat = 0.2
    teacher_distribution: Literal["deterministic", "mc"] = "deterministic"
    reweight: Literal["margin", "none"] = "margin"
    normalise_weights: bool = True
    abstain_below: float | None = None
    aliases: dict[TeacherName, dict[str, str]] = {}

    @model_validator(mode="after")
    def _posterior_has_one(self) -> Self:
        if self.strategy == "posterior" and self.scorer not in POSTERIORS:
            raise ValueError(f"strategy posterior wants a scorer that gives probabilities, one of {sorted(POSTERIORS)}")
        return self


class Student(Training):
    """The student and its training. `temperature` is the T of the distillation loss and of the teachers' softmax."""

    epochs: PositiveInt = 3
    temperature: PositiveFloat = 1.0
    validation_share: Share = 0.02
    checkpoint_steps: PositiveInt = 500


class Evaluate(Block):
    """What is measured beside the student. Routing costs K passes of every teacher: a sample a label will do."""

    routing_rows_per_label: PositiveInt | None = None


class Compare(Block):
    """Which rules are compared (`pipeline/rules.py`; all by default), each with a student for every seed."""

    rules: Annotated[list[str], Field(min_length=1)] | None = None
    seeds: Annotated[list[Seed], Field(min_length=1)] = [0, 1, 2]


class Params(Block):
    """All of params.yaml."""

    prepare: Prepare
    train_teacher: TrainTeacher | None = None
    teachers: Annotated[dict[TeacherName, Teacher], Field(min_length=1)]
    label: Label = Label()
    integrate: Integrate = Integrate()
    student: Student
    evaluate: Evaluate = Evaluate()
    compare: Compare = Compare()

    @model_validator(mode="after")
    def _aliases_name_teachers(self) -> Self:
        if unknown := self.integrate.aliases.keys() - self.teachers.keys():
            raise ValueError(f"integrate.aliases names {sorted(unknown)}, not among teachers {sorted(self.teachers)}")
        return self


def load(path: Path) -> tuple[Params, Layout]:
    """Read and check params.yaml; paths in it are relative to its folder.

    Raises:
        MukiError: The file is missing, is no YAML, or breaks a bound; every fault is listed with its key.
    """
    try:
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MukiError("no such file", where=str(path), fix="Name the settings with --params FILE") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise MukiError(
            f"is not valid YAML ({' '.join(str(error).split())})", where=str(path), fix="Correct the syntax"
        ) from None
    try:
        return Params.model_validate(content), Layout(path.resolve().parent)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc'])) or 'the file'}: {fault['msg']} (got {fault['input']!r:.60})"
            for fault in error.errors()
        )
        raise MukiError(faults, where=str(path), fix="docs/settings.md lists every key and its bounds") from None


def teacher(params: Params, name: str, path: Path) -> Teacher:
    """The settings of one teacher.

    Raises:
        MukiError: No teacher has that name.
    """
    if name not in params.teachers:
        known = ", ".join(sorted(params.teachers))
        raise MukiError(f"no teacher {name!r}", where=f"{path}, teachers", fix=f"Choose one of {known}, or add it")
    return params.teachers[name]
