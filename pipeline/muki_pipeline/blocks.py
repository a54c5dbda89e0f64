"""What settings are made of: the base of every block, and the blocks of a file of texts and of a teacher."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from muki_pipeline.names import Column, LabelName

Share = Annotated[float, Field(ge=0, lt=1)]


class Block(BaseModel):
    """A block of params.yaml: unknown keys are errors, values are read-only, no number is infinite or NaN."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)


class Delimited(Block):
    """How the columns of a .csv or .tsv file are written."""

    delimiter: Literal[",", ";", "\t", "|"] | None = None
    """What separates the columns of a .csv or .tsv file; found out by default."""
    quote: Literal["doubled", "escaped", "none"] | None = None
    """Quotes in such a file: doubled inside of quotes (`""`), escaped there by a backslash, or `none`: they are part of
    the text. Found out by default."""
    header: bool = True
    """Whether the first row of a .csv, .tsv or .xlsx file names the columns."""


class Source(Delimited):
    """Where texts come from."""

    source: str = Field(min_length=1)
    """A file (.csv, .tsv, .tab, .txt, .json, .jsonl, .ndjson, .parquet, .xlsx; of text also .gz), several by a pattern
    (`texts/*.csv`), `package:DISTRIBUTION/PATH` in an installed Python package, or a data set on the hub."""
    text: Column
    """Name of the column with the texts, or its number in a file without a header. A .txt file, which holds a text in
    each line, has a column `text`."""
    label: Column | None = None
    """Name or number of the column with gold labels, if there are any. Only the rule `supervised` learns from
    them: they measure, choose rows, and in the demo train teachers."""
    config: str | None = None
    """Configuration of a data set on the hub."""
    split: str = "train"
    """Split of a data set on the hub."""


class Teacher(Block):
    """A fine-tuned classifier, and what its files do not say."""

    model: str = Field(min_length=1)
    """A folder saved by `save_pretrained` (a classifier, a LoRA adapter, SetFit), `package:DISTRIBUTION/PATH`, or a hub
    id."""
    revision: str | None = None
    """Commit of a model on the hub; required there."""
    base: str | None = None
    """The model that an adapter was trained on, a folder or `ID@COMMIT`; by default what the
    adapter's config names, where that is a folder or has a revision."""
    labels: list[LabelName] | None = None
    """Label names in the order of the outputs, for a model whose config has only LABEL_0, LABEL_1 …"""
    dropout: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Dropout probability for a model whose config has none."""
    trust_remote_code: bool = False
    """Run code from the model's folder. Only for authors whom you trust."""
    allow_pickle_weights: bool = False
    """Load pickled weights, which can run code. Only for authors whom you trust."""


class AnswerFile(Delimited):
    """A teacher that is a file of answers: of any other classifier, a service, an LLM, people. No network runs.

    A row answers one text: with a probability for each label, a column each, or with one label in a column, and its
    probability in another if there is one. Several rows of a text are samples, as dropout passes are.
    """

    answers: str = Field(min_length=1)
    """The file, of a format that `prepare` reads."""
    text: Column = "text"
    """The column with the texts. A file without it has a column `id` with the ids of the corpus."""
    labels: Annotated[list[LabelName], Field(min_length=2)] | None = None
    """Its labels. By default all of the file: the columns `probability of LABEL`, or what the column `label` holds, or
    else all columns of numbers."""
    label: Column = "label"
    """The column with one label. A file without it has a column for each label, LABEL or `probability of LABEL`."""
    probability: Column = "probability"
    """The column with that label's probability, if there is one; the others share the rest equally."""
    most_unanswered: Share = 0.2
    """The largest share of the corpus that it may leave unanswered. On such texts it has no vote."""


def _kind_of_teacher(block: Any) -> str:
    is_file = "answers" in block if isinstance(block, dict) else isinstance(block, AnswerFile)
    return "answers" if is_file else "model"


AnyTeacher = Annotated[
    Annotated[Teacher, Tag("model")] | Annotated[AnswerFile, Tag("answers")], Discriminator(_kind_of_teacher)
]


def place_of_teacher(teacher: AnyTeacher) -> str:
    """Its model, or its file of answers."""
    return teacher.answers if isinstance(teacher, AnswerFile) else teacher.model


def files_named_by(teacher: Teacher) -> dict[str, str | list[str] | None]:
    """The settings that name a network's files and its labels, as the manifest of its labels holds them."""
    return {"model": teacher.model, "revision": teacher.revision, "base": teacher.base, "labels": teacher.labels}
