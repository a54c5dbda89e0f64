import asyncio
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from muki_pipeline import config
from muki_pipeline.errors import MukiError
from muki_pipeline.evaluation.measured_on import comparison_inputs
from muki_pipeline.layout import Layout
from muki_pipeline.reporting.report.golden import CONFLICTS, golden_summary
from muki_pipeline.reporting.report.measured import read_measured
from muki_pipeline.reporting.report.page import write_report
from muki_pipeline.routing.scorers import SCORERS
from muki_pipeline.store.columns import arrow
from muki_pipeline.store.table import write_table_file
from muki_pipeline.supervision.integrate import integrate
from muki_stages import evaluate
from tests import tiny
from tests.browser import CHROMIUM, use
from tests.browser import Page as Browser

TRIES = 50
LABELS = [label for labels in tiny.TEACHER_LABELS.values() for label in labels]
HOSTILE = "<script>alert(1)</script> & more"


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that is measured, and whose teachers are gone."""
    root = tmp_path_factory.mktemp("measured")
    path = tiny.save_project(root)
    lines = (root / "corpus.csv").read_text().splitlines()
    (root / "corpus.csv").write_text("\n".join([*lines, f'oak,"{HOSTILE}"']) + "\n")
    tiny.finish(path)
    evaluate.main(path)
    for name in tiny.TEACHER_LABELS:
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
    write_table_file(layout.comparison, arrow(students), {"inputs": comparison_inputs(params, layout)})
    write_table_file(layout.comparison_tests, arrow(tests))
    write_report(params, layout)
    return layout.report


def test_the_report_has_every_section_and_needs_nothing_else(report: Path) -> None:
    page = Page(report.read_text())
    assert [heading for heading in page.headings if heading] == [
        "At a glance",
        "Result",
        "Who teaches what",
        "Which labels the student confuses",
        "Is the right teacher chosen?",
        "The student",
        "Who knows what",
        "Corpus and test set",
        "Rules compared",
        "Look at the texts",
        "Settings",
        "How to make it again",
    ]
    assert "costs the routed teachers 8 passes through a network (2 networks, 4 passes each)" in report.read_text()
    assert '<th scope="row">gate</th><td>0.750 ± 0.071</td>' in report.read_text()
    assert '<th scope="row">muki ≈</th><td>0.750</td>' in report.read_text()
    assert page.tags.count("script") == 3, "the texts and the confused texts as JSON, and the page's own script"
    assert all(link.startswith(("data:", "#")) for link in page.links)


def test_conflicts_are_the_least_margins_and_texts_are_escaped(measured: Path, report: Path) -> None:
    params, layout = config.load(measured)
    golden = golden_summary(params, layout, {})
    margins = pl.read_parquet(layout.golden / "*.parquet")["margin"].sort()
    assert len(golden.conflicts) == min(CONFLICTS, len(margins))
    np.testing.assert_allclose([each.margin + 1e-6 for each in golden.conflicts], margins[:CONFLICTS], rtol=1e-6)
    assert golden.by_gold == {}
    assert golden.taught.sum() == len(margins)
    assert HOSTILE not in report.read_text()


def test_a_golden_table_of_another_version_is_refused(measured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("muki_pipeline.layout.GOLDEN_VERSION", 99)
    with pytest.raises(MukiError, match="was made by another version of this program"):
        write_report(*config.load(measured))


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


def test_every_chart_has_a_finding_axes_a_name_and_a_table(report: Path) -> None:
    figures = re.findall(r"<figure.*?</figure>", report.read_text(), re.DOTALL)
    charts = [figure for figure in figures if "<svg" in figure]
    assert len(charts) >= 8 + len(SCORERS)
    for chart in charts:
        assert re.search(r"<h3>[^<]{10,}</h3>", chart)
        assert re.search(r'<svg [^>]*role="img"[^>]*aria-label="[^"]+', chart)
        assert "<table>" in chart
        assert "nan" not in chart
    assert {*re.findall(r"fill:|style=", "".join(charts))} == set(), "colours are the style sheet's"


def test_figures_of_another_student_are_left_out(measured: Path, tmp_path: Path) -> None:
    shutil.copytree(measured.parent / "data", tmp_path / "data", ignore=shutil.ignore_patterns(".work"))
    params, layout = config.load(measured)[0], Layout(tmp_path)
    write_report(params, layout)
    assert "are left out" not in layout.report.read_text()
    curve = layout.student / "config.json"
    curve.write_text(curve.read_text() + " ")
    write_report(params, layout)
    page = layout.report.read_text()
    assert "are left out</b>: since they were measured, something else has come: student." in page
    assert "<b>not measured</b>" in page
    assert "measure again" in page
    assert not {"Result", "Which labels the student confuses", "Corpus and test set", "The student"} & {
        *Page(page).headings
    }


def test_a_student_of_another_golden_table_is_left_out(measured: Path, tmp_path: Path) -> None:
    shutil.copytree(measured.parent, tmp_path / "p")
    path = tmp_path / "p" / "params.yaml"
    params, layout = config.load(path)
    write_report(params, layout)
    before = layout.report.read_text()
    assert "The student" in Page(before).headings
    tiny.change(path, "integrate", strategy="hard")
    params, layout = config.load(path)
    integrate(params, layout, layout.golden)
    write_report(params, layout)
    after = layout.report.read_text()
    assert "The student" not in Page(after).headings
    assert ("&#34;epochs&#34;" in before, "&#34;epochs&#34;" in after) == (True, False)


PROJECTS: dict[str, tuple[dict[str, list[str]], int]] = {
    "a teacher": ({"one": ["apple", "pear", "plum"]}, 20),
    "hostile names": ({"one": ["<b>$x^2$</b>", "退款 \u202e &amp;"], "two": ["=1+1", "a\nb", "</script>"]}, 30),
}


@pytest.fixture(scope="module", params=PROJECTS)
def unusual(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A project that is not the usual one, without a test set."""
    teachers, rows = PROJECTS[request.param]
    path = tiny.save_project(tmp_path_factory.mktemp("unusual"), teachers=teachers)
    (path.parent / "corpus.csv").write_text("body\n" + "\n".join(f'"{text}"' for text in tiny.texts(rows)) + "\n")
    tiny.change(path, "prepare", corpus={"source": "corpus.csv", "text": "body"}, test=None)
    tiny.finish(path)
    return request.param, path


def test_what_a_project_lacks_is_absent(unusual: tuple[str, Path]) -> None:
    name, path = unusual
    params, layout = config.load(path)
    write_report(params, layout)
    text = layout.report.read_text()
    page = Page(text)
    assert "<b>not measured</b>" in text
    assert not {"Result", "Which labels the student confuses", "Corpus and test set", "Rules compared"} & {
        *page.headings
    }
    assert ("Is the right teacher chosen?" in page.headings) == (name == "hostile names")
    assert {"b", "script"} & {*page.tags} == {"b", "script"}
    assert page.tags.count("script") == 3
    assert "<b>$x" not in text
    assert "nan" not in "".join(re.findall(r"<svg.*?</svg>", text, re.DOTALL))


async def until(browser: Browser, selector: str, holds: str) -> None:
    """Click until something holds: on a busy machine the first click may come before the page is drawn."""
    for _ in range(TRIES):
        await browser.click(selector)
        if await browser.value(holds):
            return
        await asyncio.sleep(0.1)


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed, so no browser clicks in the report")
def test_a_cell_of_the_matrix_opens_into_its_texts(report: Path, measured: Path, tmp_path: Path) -> None:
    answers = read_measured(*config.load(measured), LABELS).answers
    assert answers is not None
    counted = answers.group_by("actual", "predicted").len().sort("actual", "predicted")

    async def visit(browser: Browser) -> None:
        cells = "document.querySelectorAll('#matrix button')"
        assert await browser.value(f"{cells}.length") == len(counted)
        assert await browser.value(f"[...{cells}].filter(each => each.tabIndex === 0).length") == 1
        await until(browser, "#matrix button", "document.querySelector('#opened blockquote') !== null")
        row = counted.row(0, named=True)
        shown = "[...document.querySelectorAll('#opened blockquote')].map(each => each.textContent)"
        own = answers.filter(actual=row["actual"], predicted=row["predicted"])["text"].to_list()
        texts = await browser.value(shown)
        assert 0 < len(texts) <= 8
        assert set(texts) <= {text or "(an empty text)" for text in own}
        assert row["actual"] in await browser.text("#opened h3")
        second = f"{cells}[{len(counted) - 1}]"
        await browser.value(f"{second}.focus()")
        before = await browser.text("#opened h3")
        for _ in range(TRIES):
            await browser.press("Enter")
            if await browser.text("#opened h3") != before:
                break
            await asyncio.sleep(0.1)
        last = counted.row(len(counted) - 1, named=True)
        assert await browser.text("#opened h3") != before
        assert last["actual"] in await browser.text("#opened h3")
        await browser.press("ArrowUp")
        column = await browser.value("document.activeElement.dataset.cell.split(',')[1]")
        assert column == await browser.value(f"{second}.dataset.cell.split(',')[1]")
        for scheme in ("light", "dark"):
            assert await browser.faults(scheme) == []
        for width in (390, 1000, 1600):
            await browser.call(
                "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 500
            )
            assert await browser.value("document.documentElement.scrollWidth <= innerWidth"), width
        assert browser.errors == []

    asyncio.run(use(report, tmp_path, visit))
