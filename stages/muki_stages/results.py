"""Command `results`: the figures of data/metrics.json as tables, and where to look next."""

from collections.abc import Sequence
from typing import Any

from rich.text import Text

from muki_pipeline import config
from muki_pipeline.evaluation.measured_on import read_record, why_stale
from muki_pipeline.freshness import changed_settings
from muki_pipeline.reporting import results
from muki_pipeline.store.files import read_json
from muki_stages.options import PARAMS, ParamsFile
from muki_stages.terminal import FIRST, show, steps, tell, wants_json, warn

NEXT = {
    "data/report.html": "everything on one page, made by muki-pipeline report",
    "data/student/": "the student, for transformers.pipeline; its README.md is a model card",
    "muki-pipeline compare": "what each rule of integration is worth on these labels (trains a student for each)",
    "muki-pipeline inspect": "what the store holds; --id ID for one text",
    "dvc plots show": "confusion matrix, uncertainty, training curve",
}


def main(params_file: ParamsFile = PARAMS) -> dict[str, Any]:
    """Show the measured figures as tables, and where to look next."""
    params, layout = config.load(params_file)
    measured = read_json(layout.metrics, "Run muki-pipeline evaluate")
    record = read_record(layout)
    if record is not None and (stale := why_stale(record, params, layout)):
        warn(f"these figures may be of something else: {stale}. Run muki-pipeline evaluate")
    elif changed := changed_settings(params, layout):
        warn(f"these figures are of earlier settings: {changed}")
    if wants_json():
        return measured
    if "student" in measured:
        first, *others = results.test_set(measured)
        show("Test set", ["figure", "value", "texts"], [_bold(first), *others])
        headings, rows = results.by_teacher(measured)
        if rows:
            show("Test texts by the teacher that knows their labels", headings, rows)
    if "corpus" in measured:
        texts = measured["corpus"]["rows_of_known_labels"]
        show(f"Supervision: {texts:,} unlabelled texts", *results.by_scorer(measured))
    tell(Text("Where to look next"))
    steps(NEXT)
    return measured


def _bold(cells: Sequence[str]) -> list[Text]:
    return [Text(cell, FIRST) for cell in cells]
