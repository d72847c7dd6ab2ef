"""examples/backend_fastapi.py: orders, their page, and what is left of them after kills and restarts."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import httpx
import pytest

from examples import backend_fastapi as backend
from kling_async.testing import Emulator, emulator
from tests.chromium import CHROMIUM, opened_page
from tests.examples.servers import Server
from tests.support import settle, until
from tests.webhooks.support import SECRET

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.anyio

Json = dict[str, Any]

FAST: Final = """
import os

import kling_async
from examples import backend_fastapi as backend

backend.client_of = kling_async.lifespan(
    grace=1,
    slots=os.environ.get("KLING_SLOTS"),
    callback_url=f"{backend.PUBLIC_URL}/kling/callback",
    polling=kling_async.Polling(min_interval=0.05, max_interval=0.2, requests_per_second=100),
)
app = backend.app
"""
"""The example with the pace of an emulator that is hundreds of times faster than the vendor."""

CARDS: Final = "[...document.querySelectorAll('article')].map(card => card.innerText)"
"""The texts of the page's orders, the newest first."""


# --- in this process ---------------------------------------------------------------------------------


@pytest.fixture
async def emu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[Emulator]:
    """An emulator that the environment points at, and a folder for the example."""
    monkeypatch.setattr(backend, "HOME", tmp_path)
    async with emulator(slots={"video": 1}) as server:
        server.set_duration(30)
        for name, value in server.env().items():
            monkeypatch.setenv(name, value)
        yield server


@asynccontextmanager
async def running() -> AsyncIterator[httpx.AsyncClient]:
    """Run the example in this loop, with a browser of it."""
    transport = httpx.ASGITransport(app=backend.app)
    async with (
        backend.app.router.lifespan_context(backend.app),
        httpx.AsyncClient(transport=transport, base_url="http://app") as browser,
    ):
        yield browser


async def post(browser: httpx.AsyncClient, prompt: str = "a fox", key: str | None = None) -> httpx.Response:
    headers = {} if key is None else {"Idempotency-Key": key}
    return await browser.post("/videos", json={"prompt": prompt, "duration": 5}, headers=headers)


async def ended(browser: httpx.AsyncClient, order: str) -> Json:
    """Return an order once it has an end."""
    events = (await browser.get(f"/videos/{order}/events")).text.splitlines()
    last: Json = json.loads([line for line in events if line.startswith("data: ")][-1][6:])
    assert (await browser.get(f"/videos/{order}")).json() == last
    return last


async def test_an_order_is_answered_at_once_and_shows_its_way(emu: Emulator, tmp_path: Path) -> None:
    """From 202 with its place in the queue to a file; each event says something new."""
    async with running() as browser:
        began = asyncio.get_running_loop().time()
        answers = [await post(browser, f"fox {n}") for n in range(3)]
        assert asyncio.get_running_loop().time() - began < 0.5
        assert [answer.status_code for answer in answers] == [202] * 3
        await until(lambda: len(emu.tasks) == 1)
        await settle()
        orders = [answer.json()["id"] for answer in answers]
        shown = [(await browser.get(f"/videos/{order}")).json() for order in orders]
        assert [video["position"] for video in shown] == [None, 0, 1]
        assert len(emu.ledger.creates) == 1
        stream = await browser.get(f"/videos/{orders[2]}/events")
        assert stream.headers["content-type"].startswith("text/event-stream")
        events = [json.loads(line[6:]) for line in stream.text.splitlines() if line.startswith("data: ")]
        assert [event["position"] for event in events[:2]] == [1, 0]
        assert events[-1]["status"] == "ready" and len(events) == len({str(event) for event in events})
        assert any(event["eta"] for event in events)  # by then tasks like it have ended
        video = await ended(browser, orders[0])
        assert video["url"] == f"/files/{orders[0]}.mp4"
        assert (tmp_path / "files" / f"{orders[0]}.mp4").read_bytes()[4:8] == b"ftyp"


async def test_a_key_names_one_order(emu: Emulator) -> None:
    """The same key is the same order, with another request a conflict; without a key each is a new one."""
    async with running() as browser:
        first, again = await asyncio.gather(post(browser, key="k"), post(browser, key="k"))
        assert first.status_code == again.status_code == 202
        assert first.json()["id"] == again.json()["id"]
        assert (await post(browser, "a crow", key="k")).status_code == 409
        others = [(await post(browser)).json()["id"] for _ in range(2)]
        assert len({first.json()["id"], *others}) == 3
        for order in (first.json()["id"], *others):
            await ended(browser, order)
        assert len(emu.tasks) == 3


async def test_what_cannot_be_made_is_said(emu: Emulator) -> None:
    """A wrong body names its fields; an unknown order is a 404; a task that fails leaves a reason."""
    async with running() as browser:
        wrong = await browser.post("/videos", json={"promt": "a fox", "duration": 99})
        assert wrong.status_code == 422 and "did you mean 'prompt'?" in wrong.text
        for path in ("/videos/unknown", "/videos/unknown/events"):
            assert (await browser.get(path)).status_code == 404
        order = (await post(browser, "emulator:fail")).json()["id"]
        failed = await ended(browser, order)
        assert failed["status"] == "failed" and failed["reason"] and failed["url"] is None
        refused = await ended(browser, (await post(browser, "emulator:refuse")).json()["id"])
        assert refused["status"] == "failed" and "1301" in refused["reason"]


async def test_what_passes_is_tried_again(emu: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    """An order outlives a time without units: nothing is made twice, and the log says what is wrong."""
    async with running() as browser:
        emu.units["video"] = 0
        order = (await post(browser)).json()["id"]
        await asyncio.sleep(20)
        assert (
            "is tried again" in caplog.text and (await browser.get(f"/videos/{order}")).json()["url"] is None
        )
        emu.units["video"] = 100
        assert (await ended(browser, order))["status"] == "ready"
        assert len(emu.tasks) == 1


async def test_a_start_goes_on_with_what_a_shutdown_left(emu: Emulator) -> None:
    """What ran beyond the grace, and what queued, is delivered by the next start, each as one task."""
    emu.set_duration(100)
    async with running() as browser:
        orders = [(await post(browser, f"fox {n}")).json()["id"] for n in range(3)]
        await until(lambda: len(emu.tasks) == 1)
    assert len(emu.tasks) == 1
    async with running() as browser:
        ends = [await ended(browser, order) for order in orders]
        assert [end["status"] for end in ends] == ["ready"] * 3
    assert [row.external_task_id for row in emu.ledger.created] == orders


@pytest.mark.parametrize("lives", [True, False])
async def test_a_worker_takes_over_from_dead_ones_only(emu: Emulator, tmp_path: Path, lives: bool) -> None:
    """The orders of a worker whose lock is free are delivered, those of one that lives are left to it."""
    body = json.dumps({"endpoint": "text_to_video", "prompt": "a fox"})
    async with running():
        backend.sql(backend.INSERT, "theirs", None, body, 1_000_000_007)
    with (tmp_path / "worker-1000000007.lock").open("w") as other:
        if lives:
            fcntl.flock(other, fcntl.LOCK_EX)
        async with running() as browser:
            await asyncio.sleep(200)
            video = (await browser.get("/videos/theirs")).json()
            assert video["status"] == ("queued" if lives else "ready")
            assert len(emu.tasks) == (0 if lives else 1)


# --- in processes of their own -----------------------------------------------------------------------


async def order_all(browser: aiohttp.ClientSession, number: int) -> dict[str, str]:
    """Order that many videos at once, as customers do whose connections break: again under the same key."""

    async def order(key: str) -> str:
        body = {"prompt": f"video {key}", "duration": 5}
        while True:
            try:
                headers = {"Idempotency-Key": key}
                async with browser.post("/videos", json=body, headers=headers) as answer:
                    assert answer.status == 202, await answer.text()
                    taken: str = (await answer.json())["id"]
                    return taken
            except (aiohttp.ClientError, OSError):
                await asyncio.sleep(0.1)

    keys = [str(n) for n in range(number)]
    return dict(zip(keys, await asyncio.gather(*map(order, keys)), strict=True))


def ready(folder: Path) -> int:
    """Count the files that are there."""
    return len(list((folder / "videos" / "files").glob("*.mp4")))


@pytest.mark.real
@pytest.mark.parametrize("shared", [False, True], ids=["slots apart", "slots shared"])
async def test_500_orders_survive_a_kill_and_a_restart(shared: bool, tmp_path: Path) -> None:
    """Two workers, 5 slots, signed callbacks, a SIGKILL and a SIGTERM: an order is one task and one file."""
    (tmp_path / "fast.py").write_text(FAST, encoding="utf-8")
    async with emulator(slots={"video": 5}, webhook_secret=SECRET) as emu:
        emu.set_duration(0.1)
        server = Server("fast:app", tmp_path, {**emu.env(), "KLING_WEBHOOK_SECRET": SECRET})
        server.env = {**server.env, "PUBLIC_URL": server.url}
        if shared:
            server.env["KLING_SLOTS"] = f"sqlite://{tmp_path}/slots.sqlite"
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        async with aiohttp.ClientSession(server.url, connector=connector) as browser, asyncio.timeout(280):
            async with server.running():
                ordering = asyncio.ensure_future(order_all(browser, 500))
                await until(lambda: ready(tmp_path) >= 50, 100)
                os.kill(server.pids()[0], signal.SIGKILL)
                orders = await ordering
                await until(lambda: ready(tmp_path) >= 150, 100)
            async with server.running():
                assert await order_all(browser, 500) == orders  # the customers ask again, and learn the same
                await until(lambda: ready(tmp_path) >= 500, 100)
                for order in orders.values():
                    async with browser.get(f"/videos/{order}") as answer:
                        video = await answer.json()
                    assert (video["status"], video["url"]) == ("ready", f"/files/{order}.mp4")
        made = Counter(task.external_task_id for task in emu.tasks.values())
        assert made == Counter(orders.values()) and set(made.values()) == {1}
        files = {path.name for path in (tmp_path / "videos" / "files").iterdir()}
        assert files == {f"{order}.mp4" for order in orders.values()}
        assert emu.ledger.peak("video") <= 5
        assert (tmp_path / "slots.sqlite").exists() is shared
        answers = Counter(row.answer for row in emu.ledger.callbacks)
        assert answers[200] > 500 and not answers[401], answers
    assert len(server.pids()) == 5 and "Traceback" not in server.said(), server.said()


@pytest.mark.real
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine; on Debian: apt install chromium")
async def test_the_page_shows_the_video_of_a_typed_prompt(tmp_path: Path) -> None:
    """In a browser: typed, queued, made, played; a prompt that is HTML shows as text; errors are shown."""
    async with emulator(slots={"video": 1}) as emu:
        emu.set_duration(1.0)
        server = Server("examples.backend_fastapi:app", tmp_path, emu.env(), workers=1)
        async with server.running(), opened_page(server.url, tmp_path) as page:
            bad = '<img src=x onerror="document.title = 1"><b>bold</b>'
            for prompt in (bad, "A rabbit reads the newspaper", "emulator:fail"):
                await page.run(f"document.querySelector('textarea').value = {json.dumps(prompt)}")
                await page.run("document.querySelector('button').click()")
            await page.until(f"{CARDS}[0].includes('queued, 1 before it')")
            await page.until("document.querySelectorAll('video').length === 2")
            await page.until("[...document.querySelectorAll('video')].every(video => video.duration > 4)")
            await page.until(f"{CARDS}[0].includes('failed, ')")
            cards = await page.run(CARDS)
            assert "A rabbit reads the newspaper" in cards[1] and "ready" in cards[1]
            assert bad in cards[2] and await page.run("document.title") == "Videos"
            assert await page.run("document.querySelector('main b, main img')") is None
            await page.picture(tmp_path / "page.png")
            assert page.errors == []
            await page.run(f"document.querySelector('textarea').value = {json.dumps('x' * 3000)}")
            await page.run("document.querySelector('button').click()")
            await page.until(f"{CARDS}[0].includes('at most 2500')")
        assert len(emu.tasks) == 3
