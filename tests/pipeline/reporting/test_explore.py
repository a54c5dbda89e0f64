"""The searchable part of the report, read by a real browser where one is installed."""

import asyncio
import json
import re
import shutil
import subprocess
from collections.abc import Awaitable, Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import polars as pl
import pytest

from muki_pipeline import config
from muki_pipeline.reporting import explore
from muki_pipeline.reporting.html import write_report
from tests import tiny

HOSTILE = "</script><script>document.title='ran'</script><!-- <b>bold</b>"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


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
    for each in texts:
        row = (
            golden.row(
                by_predicate=(pl.col("text") == each["text"]) & (pl.col("teacher") == each["teacher"]), named=True
            )
            if sum(golden["text"] == each["text"]) == 1
            else None
        )
        if row is not None:
            answers = each["answers"]
            assert isinstance(answers, list)
            assert [answer[0] for answer in answers] == pytest.approx(row["scores"], abs=1e-4)


def test_a_large_corpus_is_sampled_and_the_page_says_so(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explore, "SAMPLE", 10)
    section = explore.explore_section(*config.load(path))
    assert "10 of the 31 texts" in section
    [content] = re.findall(r'id="data">(.*?)</script>', section, re.DOTALL)
    least = min(float(str(each["margin"])) for each in stored(path))
    chosen = json.loads(content)["texts"]
    assert 5 <= len(chosen) <= 10
    assert chosen[0]["margin"] == least


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
        if self.inside[-1:] == ["title"]:
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
        "teacher": ("two", lambda each: each["teacher"] == "two"),
        "label": ("oak", lambda each: each["label"] == "oak"),
        "margin": ("0.3", lambda each: each["margin"] <= 0.3),
    }
    for name, (value, is_wanted) in filters.items():
        wanted = sum(map(is_wanted, texts))
        assert browse(path, tmp_path, **{name: value}).count == f"{wanted} of 31 texts", name


class Page:
    """A page in a real browser, spoken to by the DevTools protocol."""

    def __init__(self, socket: Any) -> None:
        self.socket, self.number = socket, 0

    async def call(self, method: str, **parameters: Any) -> Any:
        self.number += 1
        await self.socket.send_json({"id": self.number, "method": method, "params": parameters})
        while (answer := await self.socket.receive_json()).get("id") != self.number:
            pass
        return answer["result"]

    async def value(self, expression: str) -> Any:
        found = await self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return found["result"].get("value")

    async def click(self, selector: str) -> None:
        """Move a mouse to an element's middle and press its button."""
        x, y = await self.value(
            f"(() => {{ const e = document.querySelector({selector!r}); e.scrollIntoView();"
            " const b = e.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            await self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    async def write(self, text: str) -> None:
        """Type on a keyboard."""
        for letter in text:
            await self.call("Input.dispatchKeyEvent", type="char", text=letter)


async def use(path: Path, profile: Path, visit: Callable[[Page], Awaitable[None]]) -> None:
    """Open the report in a browser and visit it."""
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0"]
    command += [f"--user-data-dir={profile}", (path.parent / "data" / "report.html").as_uri()]
    browser = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        port_file = profile / "DevToolsActivePort"
        for _ in range(600):
            if port_file.exists() and port_file.read_text().count("\n"):
                break
            await asyncio.sleep(0.1)
        port = port_file.read_text().splitlines()[0]
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/json") as answer:
                [address] = [each["webSocketDebuggerUrl"] for each in await answer.json() if each["type"] == "page"]
            async with session.ws_connect(address, max_msg_size=0) as socket:
                page = Page(socket)
                while not await page.value("document.querySelector('#texts details') !== null"):
                    await asyncio.sleep(0.1)
                await visit(page)
    finally:
        browser.terminate()
        browser.wait()


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
        for teacher, (_, label, _) in zip(tiny.TEACHER_LABELS, answers, strict=True):
            assert teacher in shown
            assert label in shown
        await page.click("#search")
        await page.write("w1 ")
        wanted = sum("w1 " in str(each["text"]) for each in stored(path))
        assert await page.value("document.querySelector('#count').textContent") == f"{wanted} of 31 texts"

    asyncio.run(use(path, tmp_path, visit))
