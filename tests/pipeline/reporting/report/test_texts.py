"""The searchable part of the report, read by a real browser where one is installed."""

import asyncio
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlencode

import polars as pl
import pytest

from muki_pipeline import config
from muki_pipeline.layout import Layout
from muki_pipeline.reporting.pages import as_json
from muki_pipeline.reporting.report import texts as module
from muki_pipeline.reporting.report.page import write_report
from muki_pipeline.reporting.report.texts import cut, sample_size, searchable
from tests import tiny
from tests.browser import CHROMIUM, Page, use

LABELS = [label for labels in tiny.TEACHER_LABELS.values() for label in labels]
HOSTILE = "</script><script>document.title='ran'</script><!-- <b>bold</b>"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("explore")
    path = tiny.save_project(root)
    lines = (root / "corpus.csv").read_text().splitlines()
    (root / "corpus.csv").write_text("\n".join([*lines, f'oak,"{HOSTILE}"']) + "\n")
    tiny.finish(path)
    write_report(*config.load(path))
    return path


def page(path: Path) -> str:
    return (path.parent / "data" / "report.html").read_text()


def stored(path: Path) -> list[dict[str, object]]:
    [content] = re.findall(r'id="data">(.*?)</script>', page(path), re.DOTALL)
    return list(json.loads(content)["texts"])


def test_every_text_is_there_with_what_each_teacher_said(path: Path) -> None:
    golden = pl.read_parquet(path.parent / "data" / "golden" / "*.parquet")
    texts = stored(path)
    assert sorted(str(each["text"]) for each in texts) == sorted(golden["text"])
    margins = [float(str(each["margin"])) for each in texts]
    assert margins == sorted(margins)
    teachers = list(tiny.TEACHER_LABELS)
    for each in texts:
        same = golden.filter(text=each["text"])
        if len(same) == 1:
            answers = each["answers"]
            assert isinstance(answers, list)
            assert [answer[0] for answer in answers] == pytest.approx(same["scores"][0].to_list(), abs=1e-4)
            assert each["teacher"] == teachers.index(same["teacher"][0])


def test_a_large_corpus_is_sampled_and_the_page_says_so(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SAMPLE", 10)
    least = min(float(str(each["margin"])) for each in stored(path))
    params, layout = config.load(path)
    chosen = searchable(params, layout)["texts"]
    assert 5 <= len(chosen) <= 10
    assert chosen[0]["margin"] == least
    other = Layout(path.parent / "other")
    for name in ("golden", "labels", "corpus", "student"):
        shutil.copytree(
            getattr(layout, name) if name != "labels" else layout.root / "data" / name, other.root / "data" / name
        )
    write_report(params, other)
    assert f"{len(chosen)} of the 31 texts, those of least margin first" in other.report.read_text()


@pytest.mark.parametrize("text", ["word " * 9000, "<" * 9000, "退款" * 9000, "\x00\n" * 9000, "😀" * 9000])
def test_a_text_takes_no_more_room_than_it_may(text: str) -> None:
    kept = cut(text, 600)
    assert len(as_json(kept).encode()) <= 603
    assert text.startswith(kept[:-1])
    assert cut("short", 600) == "short"


@pytest.mark.parametrize("teachers", [1, 3, 8, 50])
def test_the_page_stays_small_however_many_texts_and_teachers(teachers: int) -> None:
    """The sample alone grows with the corpus: at its cap, with texts cut to their cap, it is below half of 3 MB."""
    entry = {
        "text": cut("<" * 9000, 600),
        "teacher": teachers - 1,
        "label": 149,
        "margin": 0.1234,
        "weight": 1.2345,
        "answers": [[0.1234, 149, 0.1234]] * teachers,
    }
    assert sample_size(teachers) * len(as_json([entry]).encode()) < 1_500_000
    assert sample_size(teachers) >= 500


class Shown(HTMLParser):
    """What the browser made of the page."""

    def __init__(self) -> None:
        super().__init__()
        self.inside: list[str] = []
        self.count, self.boxes, self.title = "", 0, ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.inside.append(dict(attributes).get("id") or tag)
        self.boxes += tag == "blockquote" and "texts" in self.inside
        if tag in ("meta", "link", "input", "br"):
            self.inside.pop()

    def handle_endtag(self, tag: str) -> None:
        if self.inside:
            self.inside.pop()

    def handle_data(self, data: str) -> None:
        if self.inside[-1:] == ["count"]:
            self.count += data
        if self.inside[-2:] == ["head", "title"]:
            self.title += data


def browse(path: Path, profile: Path, **filters: str) -> Shown:
    address = (path.parent / "data" / "report.html").as_uri() + "#" + urlencode(filters)
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    command += ["--no-first-run", f"--user-data-dir={profile}", "--dump-dom", address]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    shown = Shown()
    shown.feed(done.stdout)
    return shown


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed, so no browser reads the report")
def test_a_browser_filters_by_word_teacher_label_and_margin(path: Path, tmp_path: Path) -> None:
    texts = stored(path)
    everything = browse(path, tmp_path)
    assert everything.count == "31 of 31 texts"
    assert everything.boxes == 31
    assert everything.title == "2 teachers, one student of 5 labels", "a text of the corpus ran as a script"
    filters = {
        "search": ("W1 ", lambda each: "w1 " in each["text"]),
        "teacher": ("two", lambda each: each["teacher"] == 1),
        "label": ("oak", lambda each: LABELS[each["label"]] == "oak"),
        "margin": ("0.3", lambda each: each["margin"] <= 0.3),
    }
    for name, (value, is_wanted) in filters.items():
        wanted = sum(map(is_wanted, texts))
        assert browse(path, tmp_path, **{name: value}).count == f"{wanted} of 31 texts", name


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed, so no browser reads the report")
def test_margins_above_one_are_found_too(tmp_path: Path) -> None:
    """Scores of the scorer energy are in standard deviations."""
    path = tiny.save_project(tmp_path)
    tiny.change(path, "integrate", scorer="energy", strategy="soft")
    tiny.finish(path)
    write_report(*config.load(path))
    margins = [float(str(each["margin"])) for each in stored(path)]
    assert max(margins) > 1
    for asked, wanted in ({}, len(margins)), ({"margin": "1"}, sum(margin <= 1 for margin in margins)):
        assert browse(path, tmp_path / "profile", **asked).count == f"{wanted} of {len(margins)} texts"


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed, so no browser clicks in the report")
def test_a_click_shows_what_every_teacher_said(path: Path, tmp_path: Path) -> None:
    first = stored(path)[0]

    async def visit(page: Page) -> None:
        assert await page.value("document.querySelector('#texts details').open") is False
        await page.click("#texts summary")
        assert await page.value("document.querySelector('#texts details').open") is True
        shown = await page.value("document.querySelector('#texts details').innerText")
        assert str(first["text"]) in shown
        answers = first["answers"]
        assert isinstance(answers, list)
        for (teacher, labels), (_, label, _) in zip(tiny.TEACHER_LABELS.items(), answers, strict=True):
            assert teacher in shown
            assert labels[label] in shown
        for scheme in ("light", "dark"):
            assert await page.faults(scheme) == []
        await page.click("#search")
        await page.write("w1 ")
        wanted = sum("w1 " in str(each["text"]) for each in stored(path))
        assert await page.value("document.querySelector('#count').textContent") == f"{wanted} of 31 texts"

    asyncio.run(use(path.parent / "data" / "report.html", tmp_path, visit))
