"""What `evaluate` measured, if it is of the student and the tables that lie here now."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from muki_pipeline.config import Params
from muki_pipeline.errors import MukiError
from muki_pipeline.evaluation.gold_labels import read_test
from muki_pipeline.evaluation.measured_on import read_record, why_stale
from muki_pipeline.labels.space import LabelSpace
from muki_pipeline.layout import Layout
from muki_pipeline.store import files
from muki_pipeline.store.columns import QUOTED
from muki_pipeline.store.keys import file_digest

_EVALUATE = "Run muki-pipeline evaluate"


@dataclass(frozen=True)
class Measured:
    """The figures of the present student; all of them are empty where nobody measured it.

    Attributes:
        metrics: The content of data/metrics.json.
        tables: `reliability` and `uncertainty`, where they were made.
        answers: `text`, `actual`, `predicted` of the test set; None without one.
        stale: Why figures that are there are left out; empty where they are shown.
    """

    metrics: Mapping[str, Any] = field(default_factory=dict)
    tables: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    answers: pl.DataFrame | None = None
    stale: str = ""


def read_measured(params: Params, layout: Layout, labels: Sequence[str], unknown_label: str | None = None) -> Measured:
    """The last evaluation, after checking that it is of what lies here now.

    Args:
        params: All settings.
        layout: Where everything lies.
        labels: The student's labels.
        unknown_label: The one of them that stands for texts of no teacher's labels.

    Raises:
        MukiError: A file of figures is damaged.
    """
    if not files.exists(layout.metrics):
        return Measured()
    record = read_record(layout)
    if record is None:
        return Measured(stale="nobody recorded which student and which texts they were measured on")
    if stale := why_stale(record, params, layout):
        return Measured(stale=stale)
    tables = {
        name: read_csv(path, as_texts=name == "confusion")
        for name in ("confusion", "reliability", "uncertainty")
        if files.exists(path := layout.plots / f"{name}.csv") and record.files.get(path.name) == file_digest(path)
    }
    confusion = tables.pop("confusion", None)
    metrics = files.read_json(layout.metrics, _EVALUATE)
    return Measured(metrics, tables, None if confusion is None else _answers(layout, labels, unknown_label, confusion))


def read_csv(path: Path, *, as_texts: bool = False) -> pl.DataFrame:
    """A table of figures, with names as they are where all of it is texts.

    Raises:
        MukiError: The file is missing or cannot be read.
    """
    content = io.BytesIO(files.read_bytes(path, _EVALUATE))
    return pl.read_csv(content, infer_schema=not as_texts, infer_schema_length=None)


def _answers(
    layout: Layout, labels: Sequence[str], unknown_label: str | None, confusion: pl.DataFrame
) -> pl.DataFrame | None:
    """The student's answers beside the texts; `evaluate` wrote them in the test set's order."""
    pairs = confusion.with_columns(pl.all().str.replace(QUOTED, "$1"))  # see spreadsheet_csv
    try:
        test = read_test(layout, LabelSpace(tuple(labels), ()), unknown_label).texts
    except MukiError:
        return None
    return test.select("text").hstack(pairs.select("actual", "predicted")) if len(test) == len(pairs) else None
