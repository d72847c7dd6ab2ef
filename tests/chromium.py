"""Drive a headless Chromium by its DevTools protocol: open a page, run JavaScript in it, take its picture."""

from __future__ import annotations

import asyncio
import base64
import itertools
import shutil
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import aiohttp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

__all__ = ["CHROMIUM", "Page", "opened_page"]

CHROMIUM: Final = next(
    filter(
        None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"))
    ),
    None,
)
"""The browser's program; None: this machine has none (on Debian: ``apt install chromium``)."""

_FLAGS: Final = (
    "--headless",
    "--no-sandbox",  # root may not use the sandbox; only pages of this project are opened
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--no-first-run",
    "--remote-debugging-port=0",
    "--window-size=800,900",
)


class Page:
    """A page in the browser.

    Args:
        socket: Its connection of the DevTools protocol.
    """

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self.errors: list[str] = []
        """Exceptions that no script of the page has caught, and what it logged as errors."""

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command of the protocol; return its result."""
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": params})
        while True:
            message = await self._socket.receive_json(timeout=60)
            if message.get("method") in {"Runtime.exceptionThrown", "Log.entryAdded"}:
                self.errors.append(str(message["params"]))
            if message.get("id") == number:
                assert "error" not in message, message
                result: dict[str, Any] = message["result"]
                return result

    async def run(self, script: str) -> Any:
        """Return the value of an expression of JavaScript; a promise's once it is kept."""
        answer = await self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True, userGesture=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def until(self, script: str, seconds: float = 30.0) -> Any:
        """Return the value of an expression once it is true."""
        async with asyncio.timeout(seconds):
            while not (value := await self.run(script)):  # noqa: ASYNC110 - a page tells nothing by itself
                await asyncio.sleep(0.05)
            return value

    async def picture(self, path: Path) -> Path:
        """Write a picture of the page, as PNG."""
        image = await self.call("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(image["data"]))  # noqa: ASYNC240 - a small local file
        return path


@asynccontextmanager
async def opened_page(url: str, folder: Path) -> AsyncIterator[Page]:
    """Start a browser with an empty profile in ``folder``, and open a page in it."""
    assert CHROMIUM is not None
    browser = await asyncio.create_subprocess_exec(
        CHROMIUM, *_FLAGS, f"--user-data-dir={folder / 'profile'}", "about:blank",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        port = await _port(folder / "profile" / "DevToolsActivePort")
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            async with session.get("/json/list") as answer:
                (target,) = [row for row in await answer.json() if row["type"] == "page"]
            async with session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                page = Page(socket)
                for domain in ("Page", "Runtime", "Log"):
                    await page.call(f"{domain}.enable")
                await page.call("Page.navigate", url=url)
                await page.until(f"location.href.startsWith({url!r}) && document.readyState === 'complete'")
                yield page
    finally:
        if browser.returncode is None:
            browser.terminate()
        await browser.wait()


async def _port(file: Path) -> str:
    """Return the port that the browser has written down."""
    async with asyncio.timeout(60):
        while not (lines := _lines(file)):  # noqa: ASYNC110 - the browser tells by this file only
            await asyncio.sleep(0.05)
        return lines[0]


def _lines(file: Path) -> list[str]:
    return file.read_text(encoding="ascii").split() if file.exists() else []
