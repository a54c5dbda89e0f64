"""The figures of data/metrics.json that people read, each in one line: the report and `results` show the same ones.

What `evaluate` could not measure, or what an older metrics.json lacks, is left out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from muki_pipeline.routing.scorers import SCORERS

NOT_MEASURED = "not measured"
Cells = list[str]


@dataclass(frozen=True)
class Figure:
    """A figure.

    Attributes:
        key: Where it is in its block, keys joined by dots.
        title: What it is.
        texts: Where the number of texts is that it is measured on; empty where the figure before it says so.
        form: Its digits or unit, as a format.
    """

    key: str
    title: str
    texts: str = ""
    form: str = "{:.3f}"

    def read(self, block: Mapping[str, Any]) -> str | None:
        """The figure as it is shown; None where it is absent."""
        value = _find(block, self.key)
        return None if value is None else self.form.format(value)


TEST_SET = (
    Figure("student.accuracy", "student, all labels", "student.rows"),
    Figure("student.macro_f1", "student, macro-F1"),
    Figure("student.expected_calibration_error", "student, calibration error"),
    Figure("student.unknown_found", "texts of no teacher that it knows as such", "student.rows_of_unknown_labels"),
    Figure("student.accuracy_of_known", "student, on texts of the teachers", "student.rows_of_known_labels"),
    Figure("student.known_called_unknown", "those that it takes for texts of no teacher"),
    Figure("routed_teachers.accuracy", "routed teachers, no student", "routed_teachers.rows"),
    Figure("routed_teachers.student_accuracy_on_these", "student, on the same texts"),
)
"""Of all of metrics.json."""
TEACHER = (
    Figure("rows", "test texts", form="{:,}"),
    Figure("own_block_accuracy", "their teacher, among its own labels"),
    Figure("student_accuracy_on_these", "the student, among all"),
    Figure("student_own_block_accuracy_on_these", "the student, among the teacher's"),
)
"""Of a teacher's block."""
SCORER = (
    Figure("right_teacher_best", "right teacher best"),
    Figure("right_teacher_auroc", "AUROC, right against wrong teachers"),
    Figure("target_accuracy", "target right"),
    Figure("target_kl_to_gold", "KL to gold, nats"),
    Figure("known_text_auroc", "AUROC, known against unknown texts"),
)
"""Of a scorer's block in `corpus`."""


def test_set(measured: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Title, value and texts of every figure of the test set; an empty number of texts means the last one."""
    found = [(figure.title, figure.read(measured), _find(measured, figure.texts)) for figure in TEST_SET]
    return [(title, value, f"{texts:,}" if texts else "") for title, value, texts in found if value is not None]


def by_teacher(measured: Mapping[str, Any]) -> tuple[Cells, list[Cells]]:
    """Headings and rows of a table: each teacher and the student on the test texts of the teacher's labels."""
    return _table("labels of", TEACHER, measured.get("teachers", {}))


def by_scorer(measured: Mapping[str, Any]) -> tuple[Cells, list[Cells]]:
    """Headings and rows of a table: every scorer on the corpus, whose block holds counts of texts besides."""
    corpus = measured.get("corpus", {})
    return _table("scorer", SCORER, {name: corpus.get(name, {}) for name in SCORERS})


def _table(what: str, figures: Sequence[Figure], blocks: Mapping[str, Mapping[str, Any]]) -> tuple[Cells, list[Cells]]:
    """A row for each block, a column for each figure that some block has."""
    shown = [figure for figure in figures if any(figure.read(block) is not None for block in blocks.values())]
    rows = []
    for name, block in blocks.items():
        cells = [figure.read(block) or "" for figure in shown]
        rows.append([name, *(cells if any(cells) else [NOT_MEASURED, *cells[1:]])])
    return [what, *(figure.title for figure in shown)], rows


def _find(block: Any, key: str) -> Any:
    """What a key with dots leads to; None where there is nothing."""
    for part in key.split("."):
        block = block.get(part) if isinstance(block, Mapping) else None
    return block
