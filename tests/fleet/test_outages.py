"""Outages of the database: work waits, nothing fails, nothing is made twice, two lines of the log tell."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from kling_async.fleet.database import connect
from kling_async.fleet.embedded import EmbeddedPostgres
from kling_async.fleet.worker import WorkerState
from tests.fleet.support import film, rows, wait_until
from tests.fleet.working import at_work, read, site

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from tests.postgres import Postgres

    Outage = Callable[[Postgres, str], AbstractAsyncContextManager[None]]

pytestmark = [pytest.mark.real, pytest.mark.anyio]

SECONDS = 2.0
"""How long an outage lasts."""


@contextlib.asynccontextmanager
async def stopped(postgres: Postgres, dsn: str) -> AsyncIterator[None]:
    """Stop the server."""
    await asyncio.to_thread(postgres.stop)
    try:
        yield
    finally:
        await asyncio.to_thread(postgres.start)


@contextlib.asynccontextmanager
async def read_only(postgres: Postgres, dsn: str) -> AsyncIterator[None]:
    """Let nobody write, as after a failover."""
    async with administration(postgres) as run:
        await run("ALTER SYSTEM SET default_transaction_read_only = on")
        await run("SELECT pg_reload_conf()")
        try:
            yield
        finally:
            await run("SET default_transaction_read_only TO off")
            await run("ALTER SYSTEM RESET default_transaction_read_only")
            await run("SELECT pg_reload_conf()")


@contextlib.asynccontextmanager
async def closed(postgres: Postgres, dsn: str) -> AsyncIterator[None]:
    """Let nobody into the database, and end all sessions."""
    name = conninfo_to_dict(dsn)["dbname"]
    async with administration(postgres) as run:
        await run(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        await run(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname='{name}'")
        try:
            yield
        finally:
            await run(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")


@contextlib.asynccontextmanager
async def crowded(postgres: Postgres, dsn: str) -> AsyncIterator[None]:
    """Leave no connection to the user, and end all that there are."""
    user = conninfo_to_dict(dsn)["user"]
    async with administration(postgres) as run:
        await run(f"ALTER ROLE {user} CONNECTION LIMIT 0")
        await run(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename='{user}'")
        try:
            yield
        finally:
            await run(f"ALTER ROLE {user} CONNECTION LIMIT -1")


@contextlib.asynccontextmanager
async def administration(postgres: Postgres) -> AsyncIterator[Callable[[str], Awaitable[object]]]:
    """Open a session of the superuser's, and yield what runs statements in it."""
    async with await AsyncConnection.connect(postgres.database("postgres"), autocommit=True) as db:
        yield lambda statement: db.execute(statement.encode())


@pytest.fixture
async def user_dsn(postgres: Postgres, dsn: str) -> str:
    """The DSN of an empty database, for a user who owns it and has no other rights."""
    name = conninfo_to_dict(dsn)["dbname"]
    user = f"{name}_user"
    async with administration(postgres) as run:
        await run(f"CREATE ROLE {user} LOGIN")
        await run(f"ALTER DATABASE {name} OWNER TO {user}")
    return make_conninfo(dsn, user=user)


OUTAGES = [stopped, read_only, closed, crowded]


@pytest.mark.parametrize("outage", OUTAGES)
async def test_workers_wait_for_the_end_of_an_outage(
    outage: Outage, user_dsn: str, postgres: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    """It begins in the middle: nothing fails, nothing is created twice, one line tells it and one its end."""
    async with site(user_dsn, slots=3) as (fleet, emu):
        await fleet.submit([film(f"shot {n}") for n in range(24)], batch="films")
        async with at_work(fleet, emu) as worker:
            reading = asyncio.create_task(read(fleet))
            await wait_until(lambda: len(emu.tasks) >= 6)
            async with outage(postgres, user_dsn):
                made = len(emu.tasks)
                await asyncio.sleep(SECONDS)
                assert len(emu.tasks) <= made + 3  # those whose rows were written before
            outcomes = await reading
            assert worker.state is WorkerState.TAKING
        assert [outcome.status for outcome in outcomes] == ["succeeded"] * 24
        assert len(emu.tasks) == 24
        assert await rows(user_dsn, "SELECT total, done, succeeded FROM batches") == [(24, 24, 24)]
    told = [
        r.getMessage() for r in caplog.records if r.name == "kling_async.fleet" and r.levelname == "WARNING"
    ]
    assert sum("cannot be used, work waits for it" in text for text in told) == 1
    assert sum("can be used again after" in text for text in told) == 1
    assert not any("gone" in text for text in told)


async def change(dsn: str, statement: str) -> None:
    """Change the tables."""
    async with connect(dsn) as db:
        await db.execute(statement.encode())


async def test_of_several_servers_the_one_that_can_be_written_is_used(dsn: str) -> None:
    """A DSN names two hosts, of which the first only follows: tables, jobs and slots are in the second."""
    follower = await asyncio.to_thread(EmbeddedPostgres)
    try:
        async with administration(follower) as run:
            await run(f"CREATE DATABASE {conninfo_to_dict(dsn)['dbname']}")
            await run("ALTER SYSTEM SET default_transaction_read_only = on")
            await run("SELECT pg_reload_conf()")
        hosts = [conninfo_to_dict(one)["host"] for one in (follower.database("postgres"), dsn)]
        both = make_conninfo(dsn, host=",".join(map(str, hosts)))
        async with site(both) as (fleet, emu):
            await fleet.submit([film("a shot")], batch="films")
            async with at_work(fleet, emu, client={"slots": both}):
                assert [outcome.status for outcome in await read(fleet)] == ["succeeded"]
        assert await rows(dsn, "SELECT succeeded FROM batches") == [(1,)]
        assert await rows(dsn, "SELECT count(*) FROM kling_slots.accounts") == [(1,)]
    finally:
        await asyncio.to_thread(follower.close)


async def test_a_worker_outlives_a_database_that_refuses_its_sign_of_life(
    dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    """No waiting mends that, but somebody may: its heart goes on, and says what is wrong."""
    async with site(dsn) as (fleet, emu), at_work(fleet, emu) as worker:
        await wait_until(lambda: worker._pulse.alive)
        await change(dsn, "ALTER TABLE workers ADD CONSTRAINT mistake CHECK (false) NOT VALID")
        await wait_until(lambda: "cannot show that it lives" in caplog.text)
        await asyncio.sleep(SECONDS)
        await fleet.submit([film("a shot")], batch="films")
        await change(dsn, "ALTER TABLE workers DROP CONSTRAINT mistake")
        assert [outcome.status for outcome in await read(fleet)] == ["succeeded"]


async def test_a_worker_leaves_once_the_tables_need_a_newer_program(
    dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    """They were brought up to date by a newer one: its tasks run on, and go to workers that know how."""
    async with site(dsn, slots=2, seconds=600.0) as (fleet, emu):
        await fleet.submit([film(f"shot {n}") for n in range(3)], batch="films")
        async with at_work(fleet, emu) as worker:
            await wait_until(lambda: len(emu.tasks) == 2)
            await change(dsn, "UPDATE schema SET version=version+1, oldest_reader=version")
            await asyncio.sleep(SECONDS)
            assert worker.state is WorkerState.TAKING
            await change(dsn, "UPDATE schema SET oldest_reader=version")
            await wait_until(lambda: worker.state is WorkerState.ENDED, 5.0)
        queued = "SELECT queue_name, count(*) FROM procrastinate_jobs WHERE status='todo' GROUP BY 1"
        assert sorted(await rows(dsn, queued)) == [("kling/begun", 2), ("kling/video", 1)]
    assert "leaves (the fleet's tables now need a newer program: upgrade kling-async here)" in caplog.text
