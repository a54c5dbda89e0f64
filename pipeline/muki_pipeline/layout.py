"""Where every table lies and which command makes it, in one place."""

from dataclasses import dataclass
from pathlib import Path

from muki_pipeline.errors import MukiError
from muki_pipeline.tables.schema import GOLDEN_VERSION
from muki_pipeline.tables.store import Store
from muki_pipeline.tables.table import Table, open_store

MAKE_CORPUS = "Run muki-pipeline prepare"
MAKE_EMBEDDINGS = "Run muki-pipeline embed"
MAKE_GOLDEN = "Run muki-pipeline integrate"
MAKE_STUDENT = "Run muki-pipeline train-student"
TRAINING_CURVE = "training_curve.csv"
"""The student's loss, step by step, in the student's folder."""


def make_labels(teacher: str) -> str:
    """The command that makes a teacher's label table."""
    return f"Run muki-pipeline label --teacher {teacher}"


def open_golden(folder: Path) -> Table:
    """The golden table in a folder.

    Raises:
        MukiError: See `Table.open`; it is of another version.
    """
    table = Table.open(folder, MAKE_GOLDEN)
    if table.facts.get("schema") != GOLDEN_VERSION:
        raise MukiError("was made by another version of this program", where=str(folder), fix=MAKE_GOLDEN)
    return table


@dataclass(frozen=True)
class Layout:
    """The project's folders, relative to the folder of params.yaml.

    Attributes:
        root: That folder.
        bucket: Its address, where one holds the shards of corpus, labels, embeddings and golden supervision; None where
            the folders themselves do. The manifests are in the folders in any case.
    """

    root: Path
    bucket: str | None = None

    def store(self, folder: Path) -> Store:
        """Where the shards of the table in a folder, or of the finished work there, lie."""
        return open_store(folder, self.bucket)

    @property
    def corpus(self) -> Path:
        """Unlabelled texts: `id`, `text`."""
        return self.root / "data" / "corpus"

    @property
    def gold(self) -> Path:
        """Gold labels; only `evaluate` and `train-teacher` may open this folder."""
        return self.root / "data" / "eval"

    @property
    def test(self) -> Path:
        """The labelled test set: `id`, `text`, `label`."""
        return self.gold / "test.parquet"

    @property
    def corpus_gold(self) -> Path:
        """The corpus's own labels, where they are known: `id`, `label`."""
        return self.gold / "corpus_gold.parquet"

    @property
    def teacher_train(self) -> Path:
        """Labelled texts outside the corpus, for `train-teacher`: `id`, `text`, `label`."""
        return self.gold / "teacher_train.parquet"

    def labels(self, teacher: str) -> Path:
        """A teacher's labels of every text of the corpus."""
        return self.root / "data" / "labels" / teacher

    def features(self, teacher: str) -> Path:
        """What a teacher's head reads of every text of the corpus, where `label.features` asks for it."""
        return self.labels(teacher) / "features"

    def teacher(self, name: str) -> Path:
        """Where `train-teacher` saves the teacher `name`."""
        return self.root / "data" / "teachers" / name

    @property
    def embeddings(self) -> Path:
        """Neutral embeddings of the corpus's texts."""
        return self.root / "data" / "embeddings" / "texts"

    @property
    def label_names(self) -> Path:
        """Neutral embeddings of the labels' names."""
        return self.root / "data" / "embeddings" / "names"

    @property
    def review(self) -> Path:
        """The texts that a person is asked about."""
        return self.root / "data" / "review.csv"

    @property
    def golden(self) -> Path:
        """Golden supervision: the only table that the student is trained from."""
        return self.root / "data" / "golden"

    @property
    def student(self) -> Path:
        """The trained student, ready for `transformers.pipeline`."""
        return self.root / "data" / "student"

    @property
    def kept_student(self) -> Path:
        """The last student that was trained, for whoever has removed its folder."""
        return self.work / "student" / "last"

    def kept_teacher(self, name: str) -> Path:
        """The last teacher `name` that `train-teacher` trained; see `kept_student`."""
        return self.work / "teachers" / name

    @property
    def metrics(self) -> Path:
        """The evaluation's figures, a DVC metric."""
        return self.root / "data" / "metrics.json"

    @property
    def comparison(self) -> Path:
        """A row per rule and seed."""
        return self.root / "data" / "comparison.parquet"

    @property
    def comparison_tests(self) -> Path:
        """A row per pair of rules."""
        return self.root / "data" / "comparison_tests.parquet"

    @property
    def report(self) -> Path:
        """The report, one HTML file."""
        return self.root / "data" / "report.html"

    @property
    def plots(self) -> Path:
        """The evaluation's plots and the tables behind them."""
        return self.root / "data" / "plots"

    @property
    def work(self) -> Path:
        """Finished shards by key, and checkpoints: they survive a killed run and are not outputs."""
        return self.root / "data" / ".work"
