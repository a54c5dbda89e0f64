"""Draws docs/screenshots: the demo's report and review page in Chromium, narrow to wide, light and dark.

Use: `make screenshots`, after `make demo`.
"""

import asyncio
import base64
import json
import tempfile
from pathlib import Path

import polars as pl

from muki_pipeline import config
from muki_stages import review
from tests.browser import Page, use
from tests.repository import ROOT

PARAMS = ROOT / "params.yaml"
FOLDER = ROOT / "docs" / "screenshots"
WIDTHS, HEIGHT = (390, 1000, 1600), 900
SCHEMES = ("light", "dark")
_SHORTEST = "place = data.texts.indexOf(data.texts.reduce((a, b) => (b.text.length < a.text.length ? b : a))); show()"


async def shoot(page: Page, name: str) -> None:
    """The first screen at every width, light and dark."""
    for width in WIDTHS:
        await page.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=HEIGHT, deviceScaleFactor=1, mobile=width < 500
        )
        for scheme in SCHEMES:
            await page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
            shot = await page.call("Page.captureScreenshot", format="webp", quality=60)
            (FOLDER / f"{name}_{width}_{scheme}.webp").write_bytes(base64.b64decode(shot["data"]))


async def report(page: Page) -> None:
    """The report's first screen."""
    await shoot(page, "report")


async def answered(page: Page) -> None:
    """The review after some answers, those of the gold labels."""
    gold = dict(pl.read_parquet(config.load(PARAMS)[1].corpus_gold).iter_rows())
    await page.value(
        f"const gold = {json.dumps(gold)}; data.texts.slice(0, 36).forEach(e => answers[e.id] = gold[e.id])"
    )
    await page.value(_SHORTEST)
    await shoot(page, "review")


def main() -> None:
    """Draw them all."""
    layout = config.load(PARAMS)[1]
    review.main(PARAMS, 60, None, True, True)
    FOLDER.mkdir(exist_ok=True)
    for file, visit in ((layout.report, report), (layout.review_page, answered)):
        with tempfile.TemporaryDirectory() as profile:
            asyncio.run(use(file, Path(profile), visit))


if __name__ == "__main__":
    main()
