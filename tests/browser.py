"""A real browser, spoken to by the DevTools protocol."""

import asyncio
import json
import shutil
import subprocess
from collections.abc import Awaitable, Callable
from importlib import resources
from pathlib import Path
from typing import Any

import aiohttp

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Page:
    """A page in the browser.

    Attributes:
        errors: What its scripts threw or wrote as an error.
    """

    def __init__(self, socket: Any) -> None:
        self.socket, self.number = socket, 0
        self.errors: list[str] = []

    async def call(self, method: str, **parameters: Any) -> Any:
        """The result of a method of the protocol."""
        self.number += 1
        await self.socket.send_json({"id": self.number, "method": method, "params": parameters})
        while (answer := await self.socket.receive_json()).get("id") != self.number:
            said = answer.get("params", {})
            if answer.get("method") == "Runtime.exceptionThrown" or said.get("type") == "error":
                self.errors.append(str(said))
        return answer["result"]

    async def value(self, expression: str) -> Any:
        """What a script's expression gives."""
        found = await self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return found["result"].get("value")

    async def faults(self, scheme: str) -> list[str]:
        """What axe-core finds wrong with contrast, roles, names and landmarks, in a `light` or `dark` scheme."""
        await self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        await self.value(resources.files("axe_core_python").joinpath("axe.min.js").read_text(encoding="utf-8"))
        found = await self.call(
            "Runtime.evaluate",
            expression="axe.run().then(found => found.violations.map(each => `${each.id}: ${each.nodes[0].html}`))",
            awaitPromise=True,
            returnByValue=True,
        )
        faults: list[str] = found["result"]["value"]
        return faults

    async def text(self, selector: str) -> str:
        """The text of an element."""
        found: str = await self.value(f"document.querySelector({selector!r}).textContent")
        return found

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

    async def press(self, key: str) -> None:
        """Press a key: a letter, a digit, or one with a name, as `Enter`."""
        text = {"text": "\r"} if key == "Enter" else {}
        await self.call("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
        await self.call("Input.dispatchKeyEvent", type="keyUp", key=key)


async def use(file: Path, profile: Path, visit: Callable[[Page], Awaitable[None]]) -> None:
    """Open a file in a browser and visit it.

    Args:
        file: The page.
        profile: Where the browser keeps what it stores; a later visit finds it.
        visit: What is done there.
    """
    # The browser begins with an empty page, which is complete as well.
    loaded = f"location.href === {json.dumps(file.as_uri())} && document.readyState === 'complete'"
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0"]
    command += [f"--user-data-dir={profile}", file.as_uri()]
    port_file = profile / "DevToolsActivePort"
    port_file.unlink(missing_ok=True)
    browser = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
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
                await page.call("Runtime.enable")
                async with asyncio.timeout(120):
                    while not await page.value(loaded):
                        await asyncio.sleep(0.1)
                    await visit(page)
                await page.socket.send_json({"id": 0, "method": "Browser.close"})  # it keeps what pages stored
                browser.wait(timeout=60)
    finally:
        browser.terminate()
        browser.wait()
