"""Which labels the student confuses, and the texts behind it."""

import polars as pl

from muki_pipeline.reporting.pages import as_json
from muki_pipeline.reporting.report.charts import confusions as module
from muki_pipeline.reporting.report.charts.confusions import MOST_LABELS, confusions


def answers(*counted: tuple[str, str, int]) -> pl.DataFrame:
    rows = [
        (f"{actual}-{predicted}-{number}", actual, predicted)
        for actual, predicted, many in counted
        for number in range(many)
    ]
    return pl.DataFrame(rows, schema=["text", "actual", "predicted"], orient="row")


def test_cells_count_texts_and_open_into_some_of_them() -> None:
    found = confusions(answers(("a", "a", 7), ("a", "<b>", 3), ("<b>", "<b>", 9), ("c", "a", 12)))
    assert found.labels == ["<b>", "a", "c"]
    assert [[cell.count for cell in row] for row in found.cells] == [[9, 0, 0], [3, 7, 0], [0, 12, 0]]
    assert found.finding == "Of 15 mistakes the commonest is c called a: 12 test texts"
    assert found.texts["1,0"] == ["a-<b>-0", "a-<b>-1", "a-<b>-2"]
    assert len(found.texts["2,1"]) == 8
    assert len(found.texts["1,1"]) == 3
    assert [cell.shade for cell in found.cells[0]] == [10, 0, 0]
    assert found.cells[1][0].told == "3 texts of a, called <b>"
    assert found.chart is not None
    assert found.chart.table.rows == [["c", "a", "12 of 12"], ["a", "<b>", "3 of 10"]]


def test_of_many_labels_the_most_confused_are_shown_and_no_text_is_lost() -> None:
    counted = [(f"l{number:03}", f"l{number:03}", 3) for number in range(150)]
    counted += [(f"l{number:03}", f"l{number + 1:03}", 2 + number) for number in range(0, 60, 2)]
    found = confusions(answers(*counted))
    assert len(found.labels) == MOST_LABELS
    assert found.left_out == 150 - MOST_LABELS
    assert {"l058", "l059"} <= {*found.labels}
    assert "l000" not in found.labels
    totals = dict(answers(*counted).group_by("actual").len().iter_rows())
    for label, row, others in zip(found.labels, found.cells, found.others, strict=True):
        assert sum(cell.count for cell in row) + others == totals[label]
    assert found.chart is not None
    assert len(found.chart.table.rows) == 30, "every confusion is in the table"


def test_nothing_is_confused() -> None:
    found = confusions(answers(("only", "only", 4)))
    assert found.finding == "The student confuses none of 4 test texts"
    assert found.chart is None


def test_texts_have_a_cap_and_confusions_come_first() -> None:
    labels = [f"l{number:02}" for number in range(MOST_LABELS)]
    every = answers(*((one, other, 9) for one in labels for other in labels))
    found = confusions(every.with_columns(text=pl.lit("退" * 9000)))
    assert sum(map(len, found.texts.values())) == module._TEXTS
    assert len(as_json(found.texts).encode()) < 400_000
    assert not any(key.split(",")[0] == key.split(",")[1] and texts for key, texts in found.texts.items())
