"""The dashboard: its events, who may read them, outages, and the page in a browser at two widths."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from kling_async.fleet import Fleet
from kling_async.fleet.dashboard import Dashboard
from kling_async.fleet.database import connect
from tests.chromium import CHROMIUM, opened_page
from tests.fleet.ends import end
from tests.fleet.proxy import Proxy
from tests.fleet.support import film, rows
from tests.fleet.test_status import write_ledger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.chromium import Page

pytestmark = [pytest.mark.anyio, pytest.mark.real]

EVIL = "<img src=x onerror=document.title='evil'> & <script>alert(1)</script>"
"""A label that would run if it were not text."""


class Viewer:
    """Reads server-sent events, as a page does."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer

    async def next(self) -> tuple[str, Any]:
        """Return the next event: its name and value."""
        name = ""
        async with asyncio.timeout(30):
            async for line in self._answer.content:
                if line.startswith(b"event: "):
                    name = line.removeprefix(b"event: ").decode().strip()
                elif line.startswith(b"data: "):
                    return name, json.loads(line.removeprefix(b"data: "))
        raise EOFError

    async def look(self, *, away: bool = False) -> dict[str, Any]:
        """Return the next look while the database can be read, or, ``away``, cannot."""
        while True:
            name, value = await self.next()
            if name == "look" and bool(value["away"]) == away:
                found: dict[str, Any] = value
                return found


@asynccontextmanager
async def viewer(dashboard: Dashboard) -> AsyncIterator[Viewer]:
    """Open the events of a dashboard."""
    url, whole = f"{dashboard.url}events", aiohttp.ClientTimeout(total=None)
    async with (
        aiohttp.ClientSession(timeout=whole, read_bufsize=1 << 22) as session,
        session.get(url) as answer,
    ):
        assert answer.content_type == "text/event-stream"
        yield Viewer(answer)


async def test_viewers_share_one_loop_and_see_changes(dsn: str) -> None:
    """Each gets what the charts remember, then snapshots; ten of them cost one connection to the database."""
    await Fleet(dsn).init()
    async with Fleet(dsn) as fleet, Dashboard(dsn, every=0.05) as dashboard, viewer(dashboard) as first:
        name, history = await first.next()
        assert name == "history"
        assert "password" not in history["database"]
        assert (await first.look())["status"]["total"] == 0
        await fleet.submit([film(f"shot {n}") for n in range(5)], batch="films", label=EVIL)
        while not (look := await first.look())["status"]["queue"]:  # counted less often than the rest
            pass
        assert look["status"]["total"] == 5
        assert look["status"]["queue"] == [{"priority": 0, "label": EVIL, "jobs": 5}]
        assert look["point"]["at"] == look["status"]["at"]
        connections = "SELECT count(*) FROM pg_stat_activity WHERE datname=current_database()"
        before = await rows(dsn, connections)
        async with AsyncExitStack() as others:
            for _ in range(10):
                other = await others.enter_async_context(viewer(dashboard))
                _, history = await other.next()
                assert len(history["points"]) >= 2
                assert (await other.look())["status"]["total"] == 5
            assert await rows(dsn, connections) == before


async def test_an_outage_is_told_and_ends_by_itself(dsn: str) -> None:
    """While the database is away viewers keep the last snapshot and hear why, without a password."""
    await Fleet(dsn).init()
    async with Proxy(dsn) as proxy:
        secret = proxy.dsn.replace("postgres@", "postgres:s3cret@")
        async with Dashboard(secret, every=0.05) as dashboard, viewer(dashboard) as page:
            before = await page.look()
            proxy.drop()
            away = await page.look(away=True)
            assert away["status"] == before["status"] or away["status"]["at"] > before["status"]["at"]
            assert away["point"] is None
            later = await page.look(away=True)
            assert later["seconds"] > away["seconds"]
            assert "s3cret" not in json.dumps([away, later])
            proxy.mend()
            back = await page.look()
            assert back["status"]["at"] > away["status"]["at"]
            assert back["seconds"] < later["seconds"]
            assert "s3cret" not in repr(dashboard)


async def test_tables_that_are_removed_are_an_outage(dsn: str) -> None:
    """Viewers hear what is missing; made anew, the page goes on."""
    await Fleet(dsn).init()
    async with Dashboard(dsn, every=0.05) as dashboard, viewer(dashboard) as page:
        await page.look()
        async with connect(dsn) as db:
            await db.execute("DROP SCHEMA kling_fleet CASCADE")
        assert "does not exist" in (await page.look(away=True))["away"]
        await Fleet(dsn).init()
        assert (await page.look())["status"]["total"] == 0


async def test_only_this_machine_is_answered(dsn: str) -> None:
    """A page of another site that points its own name here (DNS rebinding) is refused."""
    await Fleet(dsn).init()
    async with Dashboard(dsn) as dashboard, aiohttp.ClientSession() as session:
        port = dashboard.url.rstrip("/").rpartition(":")[2]
        for host, status in {
            f"127.0.0.1:{port}": 200,
            f"localhost:{port}": 200,
            f"LOCALHOST:{port}": 200,
            "localhost": 421,
            f"127.0.0.1:{int(port) + 1}": 421,
            f"evil.example:{port}": 421,
            f"127.0.0.1.evil.example:{port}": 421,
            f"[::1]:{port}": 421,
            "": 421,
        }.items():
            for path in ("", "events"):
                async with session.get(dashboard.url + path, headers={"Host": host}) as answer:
                    assert answer.status == status, host
                    assert "Access-Control-Allow-Origin" not in answer.headers
        async with session.post(dashboard.url) as answer:
            assert answer.status == 405


async def test_the_page_loads_nothing_and_runs_nothing_but_its_own(dsn: str) -> None:
    """One file; its policy allows its own style and script by a nonce that is new each time."""
    await Fleet(dsn).init()
    async with Dashboard(dsn) as dashboard, aiohttp.ClientSession() as session:
        nonces = set()
        for _ in range(2):
            async with session.get(dashboard.url) as answer:
                page, policy = await answer.text(), answer.headers["Content-Security-Policy"]
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
            (nonce,) = set(re.findall(r"'nonce-([\w-]{20,})'", policy))
            nonces.add(nonce)
            assert policy.startswith("default-src 'none'; ")
            assert "unsafe" not in policy
            assert page.count(f'nonce="{nonce}"') == 2
            without = page.replace("http://www.w3.org/2000/svg", "")
            assert not re.search(r"https?:|src=|@import|url\(|innerHTML|document\.write|NONCE", without)
        assert len(nonces) == 2


async def test_it_ends_with_viewers_that_look(dsn: str) -> None:
    """Leaving the dashboard ends its events; nobody has to close the page first."""
    await Fleet(dsn).init()
    async with AsyncExitStack() as outer:
        async with Dashboard(dsn) as dashboard:
            page = await outer.enter_async_context(viewer(dashboard))
            await page.look()
        with pytest.raises((EOFError, aiohttp.ClientError)):
            await read_on(page)


async def read_on(page: Viewer) -> None:
    """Read until there is no more."""
    while True:
        await page.next()


async def test_a_port_in_use_is_an_error(dsn: str) -> None:
    """Nothing is left behind by a dashboard that cannot serve."""
    await Fleet(dsn).init()
    async with Dashboard(dsn) as first:
        port = int(first.url.rstrip("/").rpartition(":")[2])
        with pytest.raises(OSError, match=str(port)):
            async with Dashboard(dsn, port=port):
                pass


# -- in a browser

_MANY_OWNERS = """INSERT INTO kling_slots.owners
    SELECT 100 + n, 1, 'a-host-of-a-very-long-name.example:' || n, extract(epoch FROM now()), 0
    FROM generate_series(1, 30) n"""
_MANY_LEASES = """
    INSERT INTO kling_slots.leases (owner, number, pool, stage, weight, priority, label, turn, epoch, probe,
        since, aside, wanted, news, endpoint, external_task_id, task_id, kind)
    SELECT 100 + n, n, 1, 4, 1, 0, '', 0, 0, 0, 0, 0, 0, 0, '/v1/videos/text2video', '', '', ''
    FROM generate_series(1, 30) n"""

_PROBLEMS = """[...document.querySelectorAll('body *')].filter(node => {
    const box = node.getBoundingClientRect();
    return box.width && (box.right > innerWidth + 1 || box.left < -1) && !node.closest('.scroll');
  }).map(node => node.tagName + '.' + node.className + ' ' + node.textContent.slice(0, 40))"""


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
async def test_the_page_shows_the_fleet(dsn: str, tmp_path: Path) -> None:
    """At two widths nothing overflows; numbers follow the database; labels are text; an outage is told."""
    await Fleet(dsn).init()
    async with Fleet(dsn) as fleet, Proxy(dsn) as proxy:
        await fleet.submit(
            [film(f"shot {n}") for n in range(40)], batch="spring-films-of-a-long-name", label=EVIL
        )
        write_ledger(dsn)
        async with connect(dsn) as db:
            await db.execute(_MANY_OWNERS)
            await db.execute(_MANY_LEASES)
        async with Dashboard(proxy.dsn, every=0.2) as dashboard, opened_page(dashboard.url, tmp_path) as page:
            assert await tile(page, "Queued", "40")
            await end(dsn, 0, 1, 2, batch="spring-films-of-a-long-name")
            assert await tile(page, "Ended", "3")
            assert EVIL in await page.run("document.getElementById('queue').textContent")
            assert await page.run("document.querySelectorAll('img, #queue script').length") == 0
            assert "kling fleet" in await page.run("document.title")
            for width in (420, 1400):
                await page.call(
                    "Emulation.setDeviceMetricsOverride",
                    width=width,
                    height=900,
                    deviceScaleFactor=1,
                    mobile=False,
                )
                await page.until(
                    f"innerWidth === {width} && document.querySelector('#slots svg').clientWidth > 200"
                )
                assert await page.run("document.documentElement.scrollWidth") <= width
                assert await page.run(_PROBLEMS) == []
            paths = "[...document.querySelectorAll('#slots path:not(.limit)')]"
            kinds = await page.run(f"{paths}.map(node => node.className.baseVal)")
            assert len(kinds) == len(set(kinds)) == 9  # seven by themselves, the others, orphans
            await page.run("document.getElementById('by-pools').click()")
            assert await page.run("document.querySelector('#slots svg').getAttribute('aria-label')") == (
                "slots over time by pool"
            )
            proxy.drop()
            await page.until("!document.getElementById('notice').hidden")
            assert "has not answered" in await page.run("document.getElementById('notice').textContent")
            proxy.mend()
            await end(dsn, 3, batch="spring-films-of-a-long-name")
            await page.until("document.getElementById('notice').hidden")
            assert await tile(page, "Ended", "4")
            assert page.errors == []


async def tile(page: Page, title: str, value: str) -> bool:
    """Wait until a number at the top of the page is this."""
    found = (
        f"[...document.querySelectorAll('.tiles div')].some(div => div.children[0].textContent === '{title}'"
    )
    return bool(await page.until(f"{found} && div.children[1].firstChild.textContent === '{value}')"))
