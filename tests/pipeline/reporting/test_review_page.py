"""The page of a review, read as a file and used in a real browser."""

import asyncio
import json
import re
from pathlib import Path

import polars as pl
import pytest

from muki_pipeline import config
from muki_pipeline.evaluation.review import read_review, sample_review
from muki_pipeline.reporting.review_page import review_page
from muki_pipeline.routing.answers import read_answer_table
from muki_pipeline.supervision.integrate import integrate
from muki_stages import review
from tests import tiny
from tests.browser import CHROMIUM, Page, use

NASTY = "</script><script>document.title = 'hacked'</script>, \"=1+1\"\nand <b>a second line</b>"


def project(root: Path, scorer: str = "gate") -> Path:
    path = tiny.save_project(root, rows=30)
    lines = (root / "corpus.csv").read_text().splitlines()
    doubled = NASTY.replace('"', '""')
    (root / "corpus.csv").write_text("\n".join([lines[0], f'oak,"{doubled}"', *lines[1:]]) + "\n")
    strategy = "posterior" if scorer == "gate" else "soft"
    tiny.change(path, "integrate", scorer=scorer, strategy=strategy, aliases={"one": {"plum": "=plum"}})
    tiny.label(path)
    params, layout = config.load(path)
    integrate(params, layout, layout.golden)
    return path


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return project(tmp_path_factory.mktemp("review"))


def test_the_page_offers_what_teachers_say_and_no_text_is_html(path: Path) -> None:
    params, layout = config.load(path)
    sample = sample_review(params, layout, 31)
    page = review_page(sample)
    assert "hacked'</script>" not in page
    [inline] = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    content = json.loads(inline)
    assert NASTY in [each["text"] for each in content["texts"]]
    assert content["knows"] == {"one": ["apple", "pear", "=plum"], "two": ["oak", "elm"]}
    for number, each in enumerate(content["texts"]):
        said = [sample.answers[name]["united"][number] for name in ("one", "two")]
        assert sorted(offer["label"] for offer in each["offers"]) == sorted(said)
        assert sorted(each["offers"][0]) == ["by", "label"], "nobody sees which teacher was chosen"


def test_the_command_writes_a_page_and_overwrites_none(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layout = config.load(path)[1]
    review.main(path, 12, None, True, True)
    assert f"{layout.review_page}: 12 texts. Open it in a browser" in " ".join(capsys.readouterr().err.split())
    with pytest.raises(review.MukiError, match="is there already"):
        review.main(path, 12, None, True, False)


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed, so nobody answers a review in a browser")
def test_nothing_is_answered_by_an_input_method_or_forgotten_by_a_second_tab(path: Path, tmp_path: Path) -> None:
    page_file = tmp_path / "review.html"
    page_file.write_text(review_page(sample_review(*config.load(path), 31)))
    key = "document.querySelector('#search').dispatchEvent(new KeyboardEvent('keydown', {bubbles: true, %s}))"

    async def visit(page: Page) -> None:
        await page.press("/")
        for pressed in ("u", "n", "1", "ArrowRight", "Enter"):
            await page.value(key % f"isComposing: true, key: '{pressed}'")
        assert await page.text("#which") == "Text 1"
        assert (await page.text("#told")).startswith("0 of 31 texts")
        # What another tab has stored since: the answer to the last text.
        await page.value("localStorage.setItem(data.key, JSON.stringify({[data.texts[30].id]: 'apple'}))")
        await page.click("#none")
        stored = await page.value("Object.values(JSON.parse(localStorage.getItem(data.key))).sort().join()")
        assert stored == "apple,none"
        assert (await page.text("#told")).startswith("2 of 31 texts")
        assert page.errors == []

    asyncio.run(use(page_file, tmp_path / "profile", visit))


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed, so nobody answers a review in a browser")
@pytest.mark.parametrize("scorer", ["gate", "mc_entropy"])
def test_a_review_is_answered_in_a_browser_and_read_back(tmp_path: Path, scorer: str) -> None:
    path = project(tmp_path, scorer)
    params, layout = config.load(path)
    gold = dict(pl.read_parquet(layout.corpus_gold).iter_rows()) | {}
    gold = {text_id: "=plum" if label == "plum" else label for text_id, label in gold.items()}
    sample = sample_review(params, layout, 31).table
    review.main(path, 31, None, True, True)
    profile = tmp_path / "profile"
    first, told = sample["id"][0], []

    async def answer(page: Page) -> None:
        await page.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
        assert await page.value("document.title") == "Review of 31 texts"
        await page.click("#none")
        await page.press("ArrowLeft")
        assert await page.text("#state") == "answered: none"
        await page.press("u")
        await page.press("ArrowLeft")
        assert await page.text("#state") == "unsure"
        for text_id in sample["id"]:
            assert await page.text("#text") == sample.filter(pl.col("id") == text_id)["text"][0]
            offers = await page.value("[...document.querySelectorAll('#offers b')].map(each => each.textContent)")
            label = gold[text_id]
            if label in offers:
                await page.press(str(offers.index(label) + 1))
            else:  # no teacher said so
                await page.press("/")
                await page.write(label[:-1].upper())
                assert label in await page.value(
                    "[...document.querySelectorAll('#found button')].map(b => b.textContent)"
                )
                await page.press("Enter")
        told.append(await page.text("#told"))
        await page.press("s")
        while not (tmp_path / "answers.csv").exists():
            await asyncio.sleep(0.1)
        assert page.errors == []

    async def come_back(page: Page) -> None:
        assert page.errors == []
        assert await page.text("#told") == told[0]
        assert await page.value("document.documentElement.scrollWidth <= window.innerWidth")
        for scheme in ("light", "dark"):
            assert await page.faults(scheme) == []

    async def go_on(page: Page) -> None:
        """In another browser, which has stored nothing."""
        assert await page.text("#which") == "Text 21"
        assert (await page.text("#told")).startswith("20 of 31 texts; right teacher: ")
        await page.press("ArrowLeft")
        assert (await page.text("#state")).startswith("answered: ")
        assert page.errors == []

    asyncio.run(use(layout.review_page, profile, answer))
    asyncio.run(use(layout.review_page, profile, come_back))
    answers = read_answer_table(tmp_path / "answers.csv", sample_review(params, layout, 31).label_space)
    assert dict(answers.select("id", "answer").iter_rows()) == gold
    few = pl.read_csv(tmp_path / "answers.csv").with_columns(answer=pl.when(pl.int_range(pl.len()) < 20).then("answer"))
    few.write_csv(tmp_path / "few.csv")
    review.main(path, 31, None, True, True, None, tmp_path / "few.csv")
    asyncio.run(use(layout.review_page, tmp_path / "other", go_on))
    assert gold[first] != "none"
    found = read_review(params, layout, tmp_path / "answers.csv")
    right = found.right
    assert right is not None
    assert f"right teacher: {right.share:.3f} of the texts whose label a teacher knows" in told[0]
    assert f"(95 % interval {right.low:.3f} to {right.high:.3f})" in told[0]
    assert found.left == 0
    assert "every text of the corpus is answered" in told[0]
