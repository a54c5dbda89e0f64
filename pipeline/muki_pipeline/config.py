"""pydantic models of params.yaml: every default and every bound, once."""

from pathlib import Path
from typing import Annotated, Literal, Self, get_args

from pydantic import Field, PositiveFloat, ValidationError, field_validator, model_validator

from muki_pipeline import strict_yaml
from muki_pipeline.blocks import AnswerFile, AnyTeacher, Block, Share, Source, Teacher
from muki_pipeline.errors import MukiError, brief, describe_fault
from muki_pipeline.layout import Layout
from muki_pipeline.names import LabelName, TeacherName

Count = Annotated[int, Field(gt=0, lt=2**31)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Posterior = Literal["calibrated", "gate"]
POSTERIORS: tuple[str, ...] = get_args(Posterior)
"""Scorers whose scores are probabilities of being the right teacher, each row summing to 1."""
NEED_SCORES = ("soft", "hard", "posterior")
"""Strategies that weigh teachers by a scorer: those with `selects` in supervision/strategies.py."""
NEED_POSTERIOR = ("posterior",)
"""Strategies whose scores must be such: those with `needs_posterior` in supervision/strategies.py."""
NEED_LOGITS = ("concat", "cfl", "dfa")
"""Strategies that weigh teachers by the energies of their logits: those with `reads_energies`."""
NEED_TEACHERS = ("uhc", "cfl", "dfa")
"""Strategies whose loss reads each teacher's own distribution or features: those with a loss other than `kl`."""
Scorer = (
    Literal["mc_entropy", "entropy", "mutual_information", "max_probability", "mc_max_probability", "energy"]
    | Posterior
)
Dtype = Literal["float32", "bfloat16"]
Arithmetic = Literal["auto"] | Dtype
Device = Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")]


class Prepare(Block):
    """How the source becomes a corpus: which rows, and how many in a shard."""

    corpus: Source
    """The unlabelled texts."""
    extra: list[Source] = Field([])
    """More unlabelled texts for the corpus; those that are in it already, or in the test set, are left out."""
    test: Source | None = None
    """A labelled test set."""
    labels: list[LabelName] | None = None
    """Use only rows with these labels."""
    rows_per_label: Count | None = None
    """Draw this many rows of each label for the corpus, and leave the others to `train-teacher`."""
    teachers_see_corpus: bool = False
    """Let `train-teacher` train on all rows, as in the paper, not only on those outside the corpus."""
    shard_rows: Count = 10_000
    """Texts in a shard. A killed run loses at most one shard of work."""
    seed: Seed = 0
    """Seed of the draw."""

    @property
    def sources(self) -> list[Source]:
        """All that is read."""
        return [self.corpus, *self.extra, *([] if self.test is None else [self.test])]

    @model_validator(mode="after")
    def _labels_are_known(self) -> Self:
        if self.test is not None and self.test.label is None:
            raise ValueError("test.label must name the label column: a test set without labels measures nothing")
        if any(source.label is not None for source in self.extra):
            raise ValueError("extra sources are unlabelled: leave out their label")
        if self.corpus.label is None and (self.labels or self.rows_per_label or self.teachers_see_corpus):
            raise ValueError(
                "labels, rows_per_label and teachers_see_corpus go by label: corpus.label must name its column"
            )
        return self


class Training(Block):
    """How a classifier is trained, teacher or student."""

    model: str
    """The pretrained model to start from: a folder, `package:DISTRIBUTION/PATH`, or a hub id."""
    layers: Count | None = None
    """Use only this many of its layers; all by default."""
    batch_size: Count = 32
    """Texts in a training step."""
    learning_rate: PositiveFloat = 5e-5
    """Highest learning rate; it falls linearly to 0."""
    warmup: Share = 0.1
    """Share of the steps in which the learning rate rises."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    """Weight decay of AdamW."""
    max_length: Annotated[int, Field(ge=4, lt=2**31)] = 128
    """Longest text in tokens; longer ones are cut."""
    seed: Seed = 0
    """Seed of the new head, the order of the texts and dropout."""
    precision: Arithmetic = "auto"
    """Arithmetic of the products in training; `auto` takes bfloat16 where the machine multiplies it faster."""
    revision: str | None = None
    """Commit of a model on the hub."""
    pooling: Literal["mean", "cls"] = "mean"
    """What the head reads of a text. `mean`: the average of its positions, by one more layer, which is trained with the
    others. `cls`: the first position, as the pretrained model has it. Models that are classifiers already keep theirs,
    and so do architectures other than BERT, RoBERTa, XLM-R, CamemBERT and ELECTRA."""


class TeacherTraining(Training):
    """How `train-teacher` trains the teachers of the demo and of the experiments."""

    steps: Count = 300
    """Training steps."""


class TrainedTeacher(Block):
    """One of these teachers: its labels, and where it differs from `settings`."""

    labels: Annotated[list[LabelName], Field(min_length=2)]
    """The labels that it is trained on."""
    model: str | None = None
    """As in `settings`, for this teacher only, and so on."""
    layers: Count | None = None
    """See `model`."""
    steps: Count | None = None
    """See `model`."""
    learning_rate: PositiveFloat | None = None
    """See `model`."""


class TrainTeacher(Block):
    """The teachers that this project trains itself, for the demo and for the experiments."""

    settings: TeacherTraining
    """How they are trained."""
    teachers: dict[TeacherName, TrainedTeacher]
    """The teachers, by name."""

    def settings_of(self, name: str) -> TeacherTraining:
        """The settings of one teacher: the common ones, with its own in their place."""
        return self.settings.model_copy(update=self.teachers[name].model_dump(exclude={"labels"}, exclude_none=True))


class Label(Block):
    """Stage one: the dropout passes."""

    passes: Annotated[int, Field(ge=2, lt=2**31)] = 16
    """K, the number of Monte-Carlo dropout passes."""
    seed: Seed = 0
    """Seed of the dropout masks."""
    max_length: Annotated[int, Field(ge=4, lt=2**31)] = 128
    """Longest text in tokens; longer ones are cut and counted."""
    dtype: Arithmetic = "auto"
    """Arithmetic of the passes; `auto` takes bfloat16 where the machine multiplies it faster and a teacher's numbers
    on 64 texts hardly change, else float32. Where half of the corpus is labelled, it goes on as it began."""
    token_budget: Count | Literal["auto"] = "auto"
    """Tokens in a batch, including padding. It does not change any number."""
    device: Device = "auto"
    """`auto`, `cpu`, `cuda` or `cuda:N`."""
    features: bool = False
    """Also store what each teacher's head reads of a text, for the strategies `cfl` and `dfa`. One more pass without
    dropout; labels that are finished are kept."""


class Embed(Block):
    """The neutral encoder, whose embeddings of texts and label names help to find the right teacher."""

    model: str | None = None
    """A pretrained text encoder that is none of the teachers; the student's `model` by default, with all its layers. A
    sentence encoder reads label names best; its folder says how (pooling, prompt), others are averaged."""
    revision: str | None = None
    """Commit of a model on the hub."""
    prompt: str | None = None
    """What goes before every text and label name, say `query: ` for E5; by default what the encoder's folder says."""
    max_length: Annotated[int, Field(ge=4, lt=2**31)] = 128
    """Longest text in tokens; longer ones are cut."""


MOST_UNKNOWN = 0.9
"""Largest share of the corpus that may be left out: the others teach the student."""


class Integrate(Block):
    """Stage two's supervision (docs/method.md, steps 4 to 7)."""

    strategy: Literal["soft", "hard", "posterior", "concat", "uhc", "cfl", "dfa"] = "posterior"
    """How the teachers are mixed: `posterior` by the scorer's probabilities, `soft` by softmax(score / τ), `hard` the
    best teacher alone, `concat` vanilla distillation, `uhc` each teacher separately, `cfl` and `dfa` as `concat` with
    a loss that aligns the student's features with the teachers'."""
    scorer: Scorer = "gate"
    """How to score the teachers of a text; see docs/rules.md."""
    temperature: PositiveFloat = 0.2
    """τ of the soft weights."""
    teacher_distribution: Literal["deterministic", "mc"] = "deterministic"
    """What a teacher teaches: its distribution without dropout, or the average over the passes."""
    reweight: Literal["margin", "none"] = "margin"
    """Weigh texts by the margin between the two best teachers, or equally."""
    normalise_weights: bool = True
    """Scale the weights to a mean of 1."""
    unknown_share: Annotated[float, Field(ge=0.0, le=MOST_UNKNOWN)] = 0.0
    """Share of the corpus that belongs to no label of any teacher, say by `review`: so many texts, those that are least
    familiar to teachers and label names, get weight 0."""
    unknown_label: LabelName | None = None
    """A label of the student's own, for texts of no teacher's labels: it is taught those that `unknown_share` finds and
    those that a person answered with `none`, each with weight 1. Without it they teach nothing."""
    answers: Annotated[str, Field(pattern=r".+@[0-9a-f]{12}$")] | None = None
    """A person's answers, `FILE@DIGEST` as `review --read` says: each is the target of its text, and the scorer `gate`,
    which must be the one, learns from them how accurate it is."""
    aliases: dict[TeacherName, dict[LabelName, LabelName]] = Field({})
    """Per teacher, its name for a label and the union's: `{support: {cancel: cancellation}}`."""

    @model_validator(mode="after")
    def _posterior_has_one(self) -> Self:
        if self.strategy in NEED_POSTERIOR and self.scorer not in POSTERIORS:
            raise ValueError(f"strategy {self.strategy} needs a scorer of probabilities, one of {sorted(POSTERIORS)}")
        if self.answers is not None and self.scorer != "gate":
            raise ValueError("answers are only used by scorer gate")
        if self.unknown_label is not None and not self.unknown_share and self.answers is None:
            raise ValueError("unknown_label needs unknown_share, or answers: else no text would have it")
        if self.unknown_label is not None and self.strategy in NEED_TEACHERS:
            raise ValueError(f"strategy {self.strategy} learns from teachers alone, who do not know unknown_label")
        if self.answers is not None and self.strategy == "uhc":
            raise ValueError("strategy uhc learns from teachers alone, so answers would teach nothing")
        return self


class StudentSettings(Training):
    """The student and its training."""

    epochs: Count | Literal["auto"] = "auto"
    """Passes over the golden table; `auto` makes three, and on a small corpus as many as reach 24,000 texts or
    1,000 steps."""
    temperature: PositiveFloat = 1.0
    """T of the distillation loss and of the teachers' softmax."""
    validation_share: Share = 0.02
    """Share of the texts held out for the validation loss."""
    checkpoint_steps: Count = 500
    """Steps between checkpoints."""
    card_examples: Annotated[int, Field(ge=0, le=20)] = 0
    """Texts of the corpus to quote in the model card. Whoever sees the card reads them: ask their owners first."""


class Evaluate(Block):
    """What is measured besides the student."""

    routing_rows_per_label: Count | None = None
    """Test texts per label for routing without a student, which costs K passes of every teacher. All by default."""


class Compare(Block):
    """Which rules `compare` compares."""

    rules: Annotated[list[str], Field(min_length=1)] | None = None
    """Rules of docs/rules.md; by default all that the stored numbers allow."""
    seeds: Annotated[list[Seed], Field(min_length=1)] = Field([0, 1, 2])
    """A student for each seed."""

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, seeds: list[int]) -> list[int]:
        if twice := sorted({seed for seed in seeds if seeds.count(seed) > 1}):
            raise ValueError(f"these seeds occur more than once: {twice}")
        return seeds


class Params(Block):
    """All of params.yaml."""

    store: Annotated[str, Field(pattern=r"^((s3|gs|az)://[^?@#]+|abfss?://[^?:#]+)$")] | None = None
    """A bucket for the shards of corpus, labels, embeddings and golden supervision (`s3://BUCKET/PREFIX`, `gs://…`,
    `az://…`); the folders under `data/` then hold manifests only. By default the shards lie in these folders."""
    prepare: Prepare
    """Where the texts come from."""
    train_teacher: TrainTeacher | None = None
    """The teachers that this project trains itself."""
    teachers: Annotated[dict[TeacherName, AnyTeacher], Field(min_length=1)]
    """The teachers, by name: networks, or files of answers."""
    label: Label = Label()
    """Stage one."""
    embed: Embed = Embed()
    """Stage two: the neutral encoder."""
    integrate: Integrate = Integrate()
    """Stage two: supervision."""
    student: StudentSettings
    """Stage two: the student."""
    evaluate: Evaluate = Evaluate()
    """Measuring."""
    compare: Compare = Compare()
    """Comparing rules."""

    @model_validator(mode="after")
    def _aliases_name_teachers(self) -> Self:
        if unknown := self.integrate.aliases.keys() - self.teachers.keys():
            raise ValueError(f"integrate.aliases names {sorted(unknown)}, not among teachers {sorted(self.teachers)}")
        return self

    @property
    def encoder(self) -> tuple[str, str | None]:
        """The neutral encoder's model and revision: by default those that the student starts from."""
        block = self.student if self.embed.model is None else self.embed
        return str(block.model), block.revision

    @property
    def networks(self) -> dict[str, Teacher]:
        """The teachers that are networks."""
        return {name: teacher for name, teacher in self.teachers.items() if isinstance(teacher, Teacher)}

    @property
    def files_of_answers(self) -> dict[str, AnswerFile]:
        """The teachers that are files of answers."""
        return {name: teacher for name, teacher in self.teachers.items() if isinstance(teacher, AnswerFile)}


def load(path: Path) -> tuple[Params, Layout]:
    """Read and check params.yaml; paths in it are relative to its folder.

    Raises:
        MukiError: The file is missing, is not valid YAML, or breaks a bound; every fault is listed with its key.
    """
    try:
        content = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise MukiError("no such file", where=str(path), fix="Name the settings with --params FILE") from None
    except (OSError, UnicodeDecodeError) as error:
        raise MukiError(f"cannot be read ({brief(error)})", where=str(path), fix="Name a file of UTF-8 text") from None
    params = parse(content, path)
    return params, Layout(path.resolve().parent, params.store)


def parse(content: str, path: Path) -> Params:
    """The settings in the content of params.yaml; the path is for messages.

    Raises:
        MukiError: See `load`.
    """
    try:
        return Params.model_validate(strict_yaml.read(content))
    except (strict_yaml.YAMLError, RecursionError) as error:
        raise MukiError(f"is not valid YAML ({brief(error)})", where=str(path), fix="Correct the syntax") from None
    except ValidationError as error:
        keys = {name for block in _kinds(Block) for name in block.model_fields}
        faults = "; ".join(describe_fault({**fault, "loc": _key_of(fault["loc"])}, keys) for fault in error.errors())
        raise MukiError(faults, where=str(path), fix="docs/settings.md lists every key and its bounds") from None


def _kinds(block: type[Block]) -> list[type[Block]]:
    return [block, *(kind for each in block.__subclasses__() for kind in _kinds(each))]


def _key_of(place: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Where a fault is, as params.yaml writes it: pydantic names the kind of a teacher after its name."""
    return (*place[:2], *place[3:]) if place[:1] == ("teachers",) else place
