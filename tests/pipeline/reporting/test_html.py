import json
import os
import shutil
import subprocess
from html import escape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from muki_pipeline import config
from muki_pipeline.errors import MukiError
from muki_pipeline.evaluation.evaluate import evaluate
from muki_pipeline.layout import Layout
from muki_pipeline.reporting.figures import share_figure, svg
from muki_pipeline.reporting.html import CONFLICTS, golden_summary, write_report
from muki_pipeline.store.columns import arrow
from muki_pipeline.store.table import write_table_file
from tests import tiny

HOSTILE = "<script>alert(1)</script> & more"


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that is measured, and whose teachers are gone."""
    root = tmp_path_factory.mktemp("measured")
    path = tiny.save_project(root)
    lines = (root / "corpus.csv").read_text().splitlines()
    (root / "corpus.csv").write_text("\n".join([*lines, f'oak,"{HOSTILE}"']) + "\n")
    tiny.finish(path)
    params, layout = config.load(path)
    found = evaluate(params, layout)
    layout.metrics.write_text(json.dumps(found.metrics))
    layout.plots.mkdir()
    for name in ("confusion", "reliability", "uncertainty"):
        getattr(found, name).write_csv(layout.plots / f"{name}.csv")
    for name in params.teachers:
        shutil.rmtree(root / "models" / name)
    return path


class Page(HTMLParser):
    """The headings and tags of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.headings: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [str(value) for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1] == "h2":
            self.headings.append(data.strip())


@pytest.fixture(scope="module")
def report(measured: Path) -> Path:
    params, layout = config.load(measured)
    measures = ("macro_f1", "expected_calibration_error", "supervision_accuracy", "teacher_selection", "kl_to_gold")
    students = pl.DataFrame({"rule": ["gate", "gate", "muki"], "accuracy": [0.7, 0.8, 0.75]}).with_columns(
        pl.lit(0.5).alias(name) for name in measures
    )
    tests = pl.DataFrame({"rule": ["gate"], "other": ["muki"], "p_value": [0.9]})
    write_table_file(layout.comparison, arrow(students))
    write_table_file(layout.comparison_tests, arrow(tests))
    write_report(params, layout)
    return layout.report


def test_the_report_has_every_section_and_needs_nothing_else(report: Path) -> None:
    page = Page(report.read_text())
    assert [heading for heading in page.headings if heading] == [
        "Result",
        "Corpus and test set",
        "How uncertain right and wrong teachers are",
        "Who teaches what",
        "Margins and weights",
        "Is the student as accurate as it is confident?",
        "Which labels the student confuses",
        "Training",
        "Rules compared",
        "Who knows what",
        "Where teachers conflict most",
        "Look at the texts",
        "Where it comes from",
    ]
    assert "costs the routed teachers 8 passes through a network (2 networks, 4 passes each)" in report.read_text()
    assert "<td>gate</td><td>0.750 ± 0.071</td>" in report.read_text()
    assert "<td>muki ≈</td><td>0.750</td>" in report.read_text()
    assert list(page.tags).count("script") == 2, "the texts as JSON and the page's own script, no more"
    assert all(link.startswith(("data:", "#")) for link in page.links)


def test_conflicts_are_the_least_margins_and_texts_are_escaped(measured: Path, report: Path) -> None:
    params, layout = config.load(measured)
    golden = golden_summary(params, layout, {})
    margins = pl.read_parquet(layout.golden / "*.parquet")["margin"].sort()
    assert len(golden.conflicts) == min(CONFLICTS, len(margins))
    np.testing.assert_allclose([each.margin + 1e-6 for each in golden.conflicts], margins[:CONFLICTS], rtol=1e-6)
    assert golden.counts.sum() == len(margins)
    changed = Layout(layout.root)
    assert HOSTILE not in changed.report.read_text()


def test_a_golden_table_of_another_version_is_refused(measured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("muki_pipeline.layout.GOLDEN_VERSION", 99)
    with pytest.raises(MukiError, match="was made by another version of this program"):
        write_report(*config.load(measured))


def test_labels_are_never_read_as_mathematics() -> None:
    labels = ["$_$", "$5 and $6", "x^2", "\\frac"]
    drawn = svg(share_figure(labels, labels, np.eye(4, dtype=int), "said $x$"))
    assert all(f">{escape(label)}</text>" in drawn for label in labels)


def test_labels_of_any_script_are_drawn_without_a_word(recwarn: pytest.WarningsRecorder) -> None:
    drawn = svg(share_figure(["退款", "ملغى"], ["退款"], np.ones((2, 1)), "<b>"))
    assert ">退款</text>" in drawn
    assert "&lt;b&gt;" in drawn
    assert not [each for each in recwarn if "Glyph" in str(each.message)]


def test_a_figure_takes_the_pages_colour() -> None:
    drawn = svg(share_figure(["a"], ["b", "c"], np.array([[1, 3]]), "what"))
    assert drawn.startswith("<svg")
    assert "currentColor" in drawn
    assert "#010203" not in drawn


# A browser is no Python package, so `make test` cannot bring one.
@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
def test_a_browser_draws_the_report_without_complaint(report: Path, tmp_path: Path) -> None:
    picture = tmp_path / "report.png"
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0"]
    options = [f"--screenshot={picture}", "--window-size=1200,5000", f"--user-data-dir={tmp_path / 'profile'}"]
    done = subprocess.run(
        [*command, *options, report.as_uri()],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        env={**os.environ, "HOME": str(tmp_path)},
    )
    assert "CONSOLE" not in done.stderr
    assert picture.stat().st_size > 50_000
