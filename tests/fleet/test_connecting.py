"""Connect to the database: no part of a password is shown, any text stored, no dead server waited for."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

import psycopg
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from kling_async import Client
from kling_async.errors import ConfigurationError
from kling_async.fleet import Fleet, pulse, results
from kling_async.fleet.database import connection_options, server_time, shown_dsn
from kling_async.fleet.link import DatabaseLink, OutageLog
from kling_async.fleet.worker import WorkerState
from kling_async.orchestrator.ledger.places import is_misread
from tests.fleet.ends import end
from tests.fleet.proxy import Proxy
from tests.fleet.support import film, rows, wait_until
from tests.fleet.working import at_work, new_client, read, site

if TYPE_CHECKING:
    from kling_async.fleet.worker import FleetWorker
    from tests.postgres import Postgres

pytestmark = pytest.mark.real

SIGNS = st.text(st.sampled_from("abc12:/@#?&=%[],"), min_size=1, max_size=12)


@given(SIGNS)
@example("r0le/S3cret")
@example("12/S3cret")
@example("r0le@S3cret")
@example("12#S3cret")
@example("12?port=3")
def test_no_part_of_a_password_becomes_something_else(password: str) -> None:
    """An address is refused, or its password is understood as it was meant: then it is not shown."""
    dsn = f"postgresql://role:{password}@127.0.0.1:5432/films"
    options: dict[str, Any] = {}
    with contextlib.suppress(ConfigurationError):
        options = connection_options(dsn)
    if not options:
        assert shown_dsn(dsn) == "a DSN that cannot be read"
        with pytest.raises(ConfigurationError, match="slots: the address"):
            Client(api_key="key", slots=dsn)
        return
    assert options["password"] == unquote(password)
    assert (options["host"], options["port"], options["dbname"]) == ("127.0.0.1", "5432", "films")
    assert shown_dsn(dsn) == "user=role dbname=films host=127.0.0.1 port=5432"


@given(SIGNS)
def test_a_password_that_is_written_as_it_should_be_is_understood(password: str) -> None:
    """Percent signs stand for what an address uses itself, also beside several hosts and an account."""
    dsn = f"postgresql://role:{quote(password, safe='')}@a.example:5432,[::1]:5433/films?sslmode=require#team"
    assert not is_misread(dsn)
    assert connection_options(dsn)["password"] == password


@pytest.mark.anyio
@pytest.mark.parametrize(("encoding", "works"), [("SQL_ASCII", True), ("LATIN1", False)])
async def test_the_encoding_of_the_database_is_looked_at(
    encoding: str, works: bool, dsn: str, postgres: Postgres
) -> None:
    """What cannot hold all texts is refused in one line, before anything is written."""
    name = f"{conninfo_to_dict(dsn)['dbname']}_{encoding.lower()}"
    async with await AsyncConnection.connect(dsn, autocommit=True) as db:
        new = f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
        await db.execute(new.encode())
    other = make_conninfo(dsn, dbname=name)
    if not works:
        with pytest.raises(ConfigurationError, match="the database has the encoding LATIN1"):
            await Fleet(other).init()
        async with Client(api_key="key", base_url="http://127.0.0.1:9", slots=other) as client:
            with pytest.raises(ConfigurationError, match="the database has the encoding LATIN1"):
                await client.submit(film("a shot"))
        return
    async with site(other) as (fleet, emu):
        await fleet.submit([("день", film("Лес на рассвете"))], batch="films", label="день")
        async with at_work(fleet, emu, client={"slots": other}):
            (outcome,) = await read(fleet)
        assert (outcome.status, outcome.key) == ("succeeded", "день")


@pytest.mark.anyio
async def test_a_database_that_is_read_only_is_an_error_for_whoever_enters(dsn: str) -> None:
    """Nobody waits yet, so nobody waits: one line says what is wrong."""
    async with await AsyncConnection.connect(dsn, autocommit=True) as db:
        name = conninfo_to_dict(dsn)["dbname"]
        await db.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on".encode())
    with pytest.raises(ConfigurationError, match=r"refuses: cannot execute .* in a read-only transaction"):
        await Fleet(dsn).init()


@pytest.mark.anyio
async def test_a_worker_that_cannot_begin_ends_at_the_first_signal(
    dsn: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The database went away just before: it has nothing to wait for."""

    async def fail(_: Any) -> None:
        raise psycopg.OperationalError("the server is gone")

    monkeypatch.setattr(pulse, "_new_number", fail)
    async with site(dsn) as (fleet, emu), new_client(emu) as client:
        started: list[FleetWorker] = []
        working = asyncio.create_task(fleet.work(client, signals=False, on_start=started.append))
        await wait_until(lambda: "work waits for it: the server is gone" in caplog.text)
        started[0].drain()
        await asyncio.wait_for(working, 5)
        assert started[0].state is WorkerState.ENDED
    assert "has ended: the database is away" in caplog.text


@pytest.mark.anyio
async def test_who_leaves_waits_for_a_dead_server_once(dsn: str) -> None:
    """Not once more for each job that is to be put back."""
    async with Proxy(dsn) as proxy:
        log = OutageLog(proxy.dsn, "tests wait")
        links = [DatabaseLink(proxy.dsn, log, answer=0.3) for _ in range(2)]
        for link in links:
            assert await link.patient(server_time) > 0
        proxy.freeze()
        log.leaving = True
        loop = asyncio.get_running_loop()
        with pytest.raises(psycopg.OperationalError):
            await links[0].patient(server_time)
        before = loop.time()
        for _ in range(100):
            for link in links:
                with pytest.raises(psycopg.OperationalError, match="was away before"):
                    await link.patient(server_time)
        assert loop.time() - before < 0.3
        proxy.mend()
        for link in links:
            await link.close()


@pytest.mark.anyio
async def test_a_reader_gives_up_a_server_that_does_not_answer(
    dsn: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It says so, and goes on once there is an answer, with what came meanwhile."""
    caplog.set_level(logging.WARNING, "kling_async.fleet")
    monkeypatch.setattr(results, "_ANSWER", 0.3)
    monkeypatch.setattr(results, "_LOOK", 0.1)
    await Fleet(dsn).init()
    async with Proxy(dsn) as proxy, Fleet(dsn) as fleet, Fleet(proxy.dsn) as far:
        await fleet.submit([film(f"shot {n}") for n in range(2)], batch="films")
        await end(dsn, 0)
        reading = far.results("films")
        assert (await anext(reading)).position == 0
        proxy.freeze()
        waiting = asyncio.ensure_future(anext(reading))
        await wait_until(lambda: "cannot be read: no answer within" in caplog.text)
        await end(dsn, 1)
        proxy.mend()
        assert (await waiting).position == 1
        assert await rows(dsn, "SELECT count(*) FROM addresses") == [(1,)]
        await reading.aclose()
    told = [record.getMessage() for record in caplog.records if "read" in record.getMessage()]
    assert told[-1] == "the fleet's database can be read again"
    assert len(told) == 2
