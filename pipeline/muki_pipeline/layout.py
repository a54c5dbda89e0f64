"""Where every table lies and which command makes it, in one place."""

from dataclasses import dataclass
from pathlib import Path

from muki_pipeline.errors import MukiError
from muki_pipeline.store.schema import GOLDEN_VERSION
from muki_pipeline.store.store import Store
from muki_pipeline.store.table import Table, open_store

MAKE_CORPUS = "Run muki-pipeline prepare"
MAKE_EMBEDDINGS = "Run muki-pipeline embed"
MAKE_GOLDEN = "Run muki-pipeline integrate"
MAKE_STUDENT = "Run muki-pipeline train-student"
TRAINING = "training.json"
"""Which training a model comes from, and its losses, in the model's folder."""
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


class _Below:
    """A path below the project's folder."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __get__(self, layout: "Layout", owner: type) -> Path:
        return layout.root / self.path


@dataclass(frozen=True)
class Layout:
    """The project's folders and files, relative to the folder of params.yaml.

    Attributes:
        root: That folder.
        bucket: The address of the bucket that holds the shards of corpus, labels, embeddings and golden supervision;
            None where the folders themselves do. The manifests are in the folders in any case.
    """

    root: Path
    bucket: str | None = None

    corpus = _Below("data/corpus")
    """Unlabelled texts: `id`, `text`."""
    gold = _Below("data/eval")
    """Gold labels: what no student learns from, but that of the rule `supervised`."""
    test = _Below("data/eval/test.parquet")
    """The labelled test set: `id`, `text`, `label`."""
    corpus_gold = _Below("data/eval/corpus_gold.parquet")
    """The corpus's own labels, where they are known: `id`, `label`."""
    teacher_train = _Below("data/eval/teacher_train.parquet")
    """Labelled texts outside the corpus, for `train-teacher`: `id`, `text`, `label`."""
    embeddings = _Below("data/embeddings/texts")
    """Neutral embeddings of the corpus's texts."""
    label_names = _Below("data/embeddings/names")
    """Neutral embeddings of the labels' names."""
    review = _Below("data/review.csv")
    review_page = _Below("data/review.html")
    """The texts that a person is asked about."""
    router = _Below("data/router")
    """The router that the golden table was made with: `router.json`, `arrays.safetensors`."""
    golden = _Below("data/golden")
    """Golden supervision: the only table that the student is trained from."""
    student = _Below("data/student")
    """The trained student, ready for `transformers.pipeline`."""
    metrics = _Below("data/metrics.json")
    """The evaluation's figures, a DVC metric."""
    comparison = _Below("data/comparison.parquet")
    """A row per rule and seed."""
    comparison_tests = _Below("data/comparison_tests.parquet")
    """A row per pair of rules."""
    report = _Below("data/report.html")
    """The report, one HTML file."""
    plots = _Below("data/plots")
    """The evaluation's plots and the tables behind them."""
    work = _Below("data/.work")
    """Finished shards by key, and checkpoints: they survive a killed run and are not outputs."""
    kept_students = _Below("data/.work/student/last")
    """The last students that were trained, by key, for whoever goes back to earlier settings."""

    def labels(self, teacher: str) -> Path:
        """A teacher's labels of every text of the corpus."""
        return self.root / "data" / "labels" / teacher

    def review_export(self, tool: str) -> Path:
        """The same texts for an annotation tool."""
        return self.root / "data" / f"review-{tool}"

    def features(self, teacher: str) -> Path:
        """What a teacher's head reads of every text of the corpus, where `label.features` asks for it."""
        return self.labels(teacher) / "features"

    def teacher(self, name: str) -> Path:
        """Where `train-teacher` saves the teacher `name`."""
        return self.root / "data" / "teachers" / name

    def stored_router(self, scorer: str) -> Path:
        """The last router of a scorer that was fitted, whatever needed it."""
        return self.work / "routers" / scorer

    def kept_teachers(self, name: str) -> Path:
        """The last teachers `name` that `train-teacher` trained; see `kept_students`."""
        return self.work / "teachers" / name

    def store(self, folder: Path) -> Store:
        """Where the shards of the table in a folder, or of the finished work there, lie."""
        return open_store(folder, self.bucket)
