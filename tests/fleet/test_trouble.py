"""A fleet in trouble: the database stops, a worker is cut off from it, clocks are wrong, versions differ."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import psycopg
import pytest

from kling_async import Client, v1
from kling_async.errors import ConfigurationError
from kling_async.fleet import Fleet
from kling_async.testing import emulator
from tests.fleet.crew import Crew, check_account, prompts
from tests.fleet.proxy import Proxy
from tests.support import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from kling_async.testing import Emulator
    from tests.postgres import Postgres

pytestmark = [pytest.mark.anyio, pytest.mark.real]

LIMIT = 4
LEASE = 5.0


@pytest.fixture
async def emu() -> AsyncIterator[Emulator]:
    """An account of four slots for videos."""
    async with emulator(slots={"video": LIMIT, "image": 9}) as server:
        yield server


@pytest.fixture
async def fleet(dsn: str) -> AsyncIterator[Fleet]:
    """A fleet in an empty database."""
    await Fleet(dsn).init()
    async with Fleet(dsn) as found:
        yield found


async def submit(fleet: Fleet, texts: list[str]) -> None:
    """Queue videos of these prompts."""
    await fleet.submit([(text, v1.TextToVideo(prompt=text)) for text in texts], batch="all")


async def check_results(fleet: Fleet, emu: Emulator, count: int) -> None:
    """Check that there is a result for every request, and what the account saw."""
    async with asyncio.timeout(90):
        outcomes = [outcome async for outcome in fleet.results("all")]
    assert Counter(outcome.ok for outcome in outcomes) == {True: count}
    assert len({outcome.key for outcome in outcomes}) == count
    check_account(emu, count, LIMIT)


async def test_the_server_is_stopped_and_started(
    emu: Emulator, fleet: Fleet, dsn: str, postgres: Postgres
) -> None:
    """Nobody fails while the database is away for longer than a lease; nothing is made meanwhile."""
    async with Crew(emu, dsn, LIMIT) as crew:
        await crew.start()
        await crew.start()
        await crew.ready()
        await submit(fleet, prompts(12, 2.0))
        await until(lambda: len(emu.tasks) >= 6, 30)
        postgres.stop()
        try:
            await asyncio.sleep(LEASE / 2)
            made = len(emu.tasks)
            await asyncio.sleep(LEASE)
            assert len(emu.tasks) == made < 12
        finally:
            postgres.start()
        await check_results(fleet, emu, 12)
        assert all(worker.process.returncode is None for worker in crew.workers)


@pytest.mark.parametrize(("cut", "seconds"), [("freeze", LEASE + 1.5), ("drop", 2 * LEASE)])
async def test_a_worker_is_cut_off(emu: Emulator, fleet: Fleet, dsn: str, cut: str, seconds: float) -> None:
    """A worker that reaches the API but not the database makes nothing, and its slots stay taken.

    The other one takes over its jobs, not their creates; whoever was away takes no result back. It returns
    while its tasks run (``freeze``), or when they have ended and others were made in their slots (``drop``).
    """
    async with Crew(emu, dsn, LIMIT) as crew, Proxy(dsn) as proxy:
        away = await crew.start(dsn=proxy.dsn)
        await crew.ready()
        await submit(fleet, prompts(LIMIT, 8.0))
        await until(lambda: len(emu.tasks) == LIMIT, 30)
        await submit(fleet, prompts(LIMIT, 1.0))
        getattr(proxy, cut)()
        await crew.start()
        await asyncio.sleep(seconds)
        proxy.mend()
        await check_results(fleet, emu, 2 * LIMIT)
        assert away.process.returncode is None


async def test_wall_clocks_are_an_hour_off(emu: Emulator, fleet: Fleet, dsn: str) -> None:
    """Workers an hour ahead and behind share slots with a right one; one is killed."""
    async with Crew(emu, dsn, LIMIT) as crew:
        ahead = await crew.start(shift=3600.0)
        await crew.start(shift=-3600.0)
        await crew.start()
        await crew.ready()
        await submit(fleet, prompts(12, 2.0))
        await until(lambda: len(emu.tasks) >= 6, 30)
        ahead.process.kill()
        await crew.start(shift=3600.0)
        await check_results(fleet, emu, 12)


async def test_versions_of_the_schema(emu: Emulator, fleet: Fleet, dsn: str) -> None:
    """Tables of a later version are used as long as they allow it, and refused in one line otherwise."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as db:
        await db.execute("UPDATE kling_fleet.schema SET version = version + 1")
        async with Crew(emu, dsn, LIMIT) as crew:
            await crew.start()
            async with Fleet(dsn) as older:
                await submit(older, prompts(2, 0.5))
                await check_results(older, emu, 2)
            # the slots' tables are versioned likewise
            await db.execute("UPDATE kling_slots.schema SET version = version + 1")
            async with Client(base_url=emu.url, api_key=emu.api_key, slots=dsn) as client:
                await client.run(v1.TextToVideo(prompt="one more, emulator:seconds=0.5"))
        for schema, use in (("kling_fleet", enter), ("kling_slots", make_task)):
            await db.execute(f"UPDATE {schema}.schema SET oldest_reader = version".encode())
            with pytest.raises(ConfigurationError, match="version") as caught:
                await use(dsn, emu)
            assert "\n" not in str(caught.value)


async def enter(dsn: str, emu: Emulator) -> None:
    """Use the tables of the fleet."""
    async with Fleet(dsn):
        pass


async def make_task(dsn: str, emu: Emulator) -> None:
    """Use the tables of the slots."""
    async with Client(base_url=emu.url, api_key=emu.api_key, slots=dsn) as client:
        await client.submit(v1.TextToVideo(prompt="none"))
