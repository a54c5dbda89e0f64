"""Command `results`: the figures of data/metrics.json as tables, and where to look next."""

from typing import Any

from rich.console import Console
from rich.table import Table

from muki_pipeline import config
from muki_pipeline.store.files import read_json
from muki_stages.options import PARAMS, ParamsFile
from muki_stages.terminal import show, wants_json

NEXT = """[bold]Where to look next[/bold]
  data/report.html          everything on one page, made by muki-pipeline report
  data/student/             the student, for transformers.pipeline; its README.md is a model card
  muki-pipeline compare     what each rule of integration is worth on these labels (trains a student for each)
  muki-pipeline inspect     what the store holds; --id ID for one text
  dvc plots show            confusion matrix, uncertainty, training curve"""


def main(params_file: ParamsFile = PARAMS) -> dict[str, Any]:
    """Show the measured figures as tables, and where to look next."""
    _, layout = config.load(params_file)
    measured = read_json(layout.metrics, "Run muki-pipeline evaluate")
    if wants_json():
        return measured
    if "student" in measured:
        show(_test_table(measured))
    if "corpus" in measured:
        show(_corpus_table(measured["corpus"]))
    Console().print(NEXT, highlight=False, soft_wrap=True)
    return measured


def _test_table(measured: dict[str, Any]) -> Table:
    student, routed = measured["student"], measured["routed_teachers"]
    table = Table(title=f"Test set: {student['rows']:,} texts")
    for heading in ("who", "texts", "accuracy"):
        table.add_column(heading, justify="left" if heading == "who" else "right")
    table.add_row("[bold]student, all labels", f"{student['rows']:,}", f"[bold]{student['accuracy']:.4f}")
    for name, accuracy in student["block_accuracy"].items():
        table.add_row(f"  student, labels of {name}", "", f"{accuracy:.4f}")
    for name, teacher in measured["teachers"].items():
        table.add_row(
            f"teacher {name}, its own labels only", f"{teacher['rows']:,}", f"{teacher['own_block_accuracy']:.4f}"
        )
    table.add_row("routed teachers, no student", f"{routed['rows']:,}", f"{routed['accuracy']:.4f}")
    table.add_row("  student, on the same texts", f"{routed['rows']:,}", f"{routed['student_accuracy_on_these']:.4f}")
    table.caption = (
        f"student: macro-F1 {student['macro_f1']:.4f}, calibration error {student['expected_calibration_error']:.4f}"
    )
    return table


def _corpus_table(corpus: dict[str, Any]) -> Table:
    headings = {
        "right_teacher_best": "right teacher best",
        "right_teacher_auroc": "AUROC right, wrong",
        "target_accuracy": "target right",
        "target_kl_to_gold": "KL to gold, nats",
    }
    if any("known_text_auroc" in measures for measures in corpus.values() if isinstance(measures, dict)):
        headings["known_text_auroc"] = "AUROC known, unknown"
    table = Table(title=f"Supervision: {corpus['rows_of_known_labels']:,} unlabelled texts")
    table.add_column("scorer", no_wrap=True)
    for heading in headings.values():
        table.add_column(heading, justify="right")
    for scorer, measures in corpus.items():
        if isinstance(measures, dict):
            table.add_row(scorer, *(f"{measures[name]:.4f}" if name in measures else "" for name in headings))
    return table
