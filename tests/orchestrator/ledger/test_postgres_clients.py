"""Rule 21: clients that share slots through a PostgreSQL, whose server and connections may go away."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import sys
import traceback
import weakref
from typing import TYPE_CHECKING, Any

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from kling_async import Client, ConfigurationError, Polling, TaskFailed, v1
from kling_async.orchestrator import ledger
from kling_async.testing import emulator
from tests.fleet.proxy import Proxy
from tests.orchestrator.ledger.test_clients import FAST
from tests.orchestrator.ledger.test_postgres import rows
from tests.orchestrator.ledger.test_workers import SLOTS, Workers, check_account, ended, names_of
from tests.support import clip, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from kling_async.testing import Emulator
    from tests.postgres import Postgres

TABLES = "SELECT tablename FROM pg_tables WHERE schemaname='kling_slots'"
HELD = "SELECT a.account, sum(p.held) FROM kling_slots.accounts a JOIN kling_slots.pools p ON p.account=a.id"
CONNECTED = "SELECT count(*) FROM pg_stat_activity WHERE datname=current_database() AND pid<>pg_backend_pid()"

pytestmark = [pytest.mark.anyio, pytest.mark.real]


def client_of(emu: Emulator, dsn: str, **more: Any) -> Client:
    """Return a client of an emulator with its slots in a database."""
    options: dict[str, Any] = {"polling": FAST, "limits": {"video": 2}, **more}
    return Client(base_url=emu.url, api_key=emu.api_key, slots=dsn, **options)


@contextlib.asynccontextmanager
async def clients(
    *dsns: str, seconds: float = 0.5, **more: Any
) -> AsyncIterator[tuple[Emulator, list[Client]]]:
    """Start an emulator with two slots, and a client for each way to its ledger."""
    async with emulator(slots={"video": 2, "image": 9}) as emu, contextlib.AsyncExitStack() as stack:
        emu.set_duration(seconds)
        yield emu, [await stack.enter_async_context(client_of(emu, dsn, **more)) for dsn in dsns]


def check(emu: Emulator, made: int) -> None:
    """Check that no create was refused or sent twice, and the limit kept."""
    assert [row.code for row in emu.ledger.creates] == [0] * made
    assert len(emu.tasks) == made
    assert emu.ledger.peak("video") <= 2


async def test_one_asks_for_all_and_results_reach_the_others(dsn: str) -> None:
    """The others have results, and errors, without a query; no address lies in the database then."""
    async with clients(dsn, dsn, dsn) as (emu, (a, b, c)):
        emu.set_duration(60.0)
        lasting = await a.submit(clip("a"))
        waiting = asyncio.create_task(lasting.wait())
        await until(lambda: a.stats().asked > 0, 10)
        emu.set_duration(0.5)
        results = await asyncio.wait_for(asyncio.gather(*(x.run(clip()) for x in (b, c, b))), 30)
        assert all(result.videos for result in results)
        failing = await c.submit(clip("more"))
        emu.finish(failing.id, "failed", "too dark")
        with pytest.raises(TaskFailed, match="too dark"):
            await asyncio.wait_for(failing.wait(), 10)
        assert [client.stats().asked for client in (b, c)] == [0, 0]
        emu.finish(lasting.id)
        assert (await asyncio.wait_for(waiting, 10)).videos
        check(emu, 5)
        names = [name for (name,) in rows(dsn, TABLES)]
        assert ".mp4" not in repr([rows(dsn, f"SELECT * FROM kling_slots.{name}") for name in names])


async def test_requests_for_a_task_do_not_grow_with_processes(dsn: str) -> None:
    """Six clients ask about their tasks no more often than one does."""
    costs = []
    for count in (1, 6):
        async with clients(*[f"{dsn}#of-{count}"] * count, seconds=0.4) as (emu, made):
            runs = [made[n % count].run(clip(f"{n}")) for n in range(12)]
            await asyncio.wait_for(asyncio.gather(*runs), 40)
            check(emu, 12)
            costs.append(sum(client.stats().asked for client in made))
    assert costs[1] <= costs[0] * 1.3 + 2


async def test_all_keys_of_a_named_account_share_its_slots(dsn: str) -> None:
    """``#NAME`` names the account, in place of the key."""
    async with clients(f"{dsn}#the%20team", f"{dsn}#the%20team", seconds=30.0) as (_, made):
        for client in made:
            await client.submit(clip())
        assert rows(dsn, f"{HELD} GROUP BY a.account") == [("the team", 2)]


async def test_a_hint_in_the_wrong_process_wakes_the_right_one(dsn: str) -> None:
    """A callback that lands on another machine is passed on at once, by a notification."""
    lazy = Polling(min_interval=1000, max_interval=1000)
    async with clients(dsn, dsn, seconds=900.0, polling=lazy) as (emu, (a, b)):
        task = await a.submit(clip())
        waiting = asyncio.create_task(task.wait())
        await asyncio.sleep(0.5)
        emu.finish(task.id)
        assert not b.nudge(task.external_task_id or "")
        assert (await asyncio.wait_for(waiting, 3)).videos


async def test_a_callback_ends_the_wait_on_another_machine(dsn: str) -> None:
    """Verified where it came, its record goes to whoever waits: nobody asks, and no address stays."""
    lazy = Polling(min_interval=1000, max_interval=1000)
    async with clients(dsn, dsn, seconds=900.0, polling=lazy) as (emu, (a, b)):
        task = await a.submit(clip())
        waiting = asyncio.create_task(task.wait())
        await asyncio.sleep(0.5)
        emu.finish(task.id)
        (ended,) = await b.list(v1.TextToVideo)
        before = a.stats().asked
        b.callbacks.believe(ended)
        assert (await asyncio.wait_for(waiting, 3)).videos
        assert (a.stats().asked, b.stats().asked) == (before, 0)
        assert rows(dsn, "SELECT count(*) FROM kling_slots.letters") == [(0,)]


async def test_a_freed_slot_wakes_the_next_at_once(dsn: str) -> None:
    """Nobody waits for a look: the notification comes within a fraction of a beat."""
    async with clients(dsn, dsn, seconds=60.0) as (emu, (a, b)):
        tasks = [await a.submit(clip(f"{n}")) for n in range(2)]
        waits = [asyncio.create_task(task.wait()) for task in tasks]
        loop, delays = asyncio.get_running_loop(), []
        for task in tasks:
            await b.enqueue(clip("next"))
            await asyncio.sleep(0.3)
            sent = len(emu.ledger.creates) + 1
            emu.finish(task.id)
            assert a.nudge(task.id)
            await until(lambda task=task: task.done, 5, step=0.005)
            began = loop.time()
            await until(lambda sent=sent: len(emu.ledger.creates) == sent, 5, step=0.005)
            delays.append(loop.time() - began)
        assert min(delays) < 0.4
        await asyncio.gather(*waits)
        check(emu, 4)


# -- outages


async def test_a_server_that_goes_away_holds_creates_back_and_loses_nothing(
    dsn: str, postgres: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody fails: all wait, with a warning, and go on once it is there again."""
    async with clients(dsn, dsn, seconds=0.7) as (emu, made):
        runs = [asyncio.create_task(client.run(clip(f"{n}"))) for n in range(4) for client in made]
        await until(lambda: len(emu.ledger.creates) >= 3, 10)
        postgres.stop()
        try:
            await asyncio.sleep(1.0)
            before = len(emu.ledger.creates)
            await asyncio.sleep(1.5)
            assert len(emu.ledger.creates) == before
        finally:
            postgres.start()
        await asyncio.wait_for(asyncio.gather(*runs), 40)
        check(emu, 8)
    said = [record.getMessage() for record in caplog.records if "slot ledger" in record.getMessage()]
    assert sum(line.startswith("the slot ledger cannot be written") for line in said) == 2
    assert sum(line == "the slot ledger can be written again" for line in said) == 2
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize(("how", "seconds"), [("freeze", 8.0), ("drop", 4.0)])
async def test_a_client_that_is_cut_off_keeps_its_slots_and_comes_back(
    dsn: str, how: str, seconds: float
) -> None:
    """Others see orphans and never free slots; what it queued has its turn in the end; nothing is doubled."""
    async with Proxy(dsn) as proxy, clients(proxy.dsn, dsn, seconds=seconds) as (emu, (a, b)):
        running = [asyncio.create_task(a.run(clip(f"a{n}"))) for n in range(3)]
        await until(lambda: len(emu.ledger.creates) == 2, 10)
        await until(lambda: len(rows(dsn, "SELECT * FROM kling_slots.leases WHERE task_id<>''")) == 2, 5)
        getattr(proxy, how)()
        mine = asyncio.create_task(b.run(clip("b")))
        orphans = "SELECT count(*) FROM kling_slots.leases WHERE orphan IS NOT NULL AND stage=4"
        await until(lambda: rows(dsn, orphans) == [(2,)], 9)
        assert b.account.limits()["video"].held == 2
        assert len(emu.ledger.creates) == 2
        proxy.mend()
        await asyncio.wait_for(asyncio.gather(*running, mine), 60)
        check(emu, 4)
        await until(lambda: rows(dsn, "SELECT * FROM kling_slots.leases") == [], 5)


async def test_a_wrong_database_fails_what_queues(dsn: str) -> None:
    """The error says what is wrong; nothing is sent, and no password shows."""
    name = conninfo_to_dict(dsn)["dbname"]
    wrong = dsn.replace("postgres:@", "postgres:s3cret@").replace(f"/{name}", "/no")
    async with clients(wrong) as (emu, (client,)):
        for _ in range(2):
            with pytest.raises(ConfigurationError, match="does not exist") as raised:
                await asyncio.wait_for(client.submit(clip()), 5)
            assert "s3cret" not in repr(raised.value)
        assert "s3cret" not in repr(client)
        assert emu.ledger.creates == []


async def test_without_the_extra_a_client_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library of the database is imported for such an address only."""
    monkeypatch.setitem(sys.modules, "psycopg", None)
    for name in ("postgres", "postgres_database"):
        monkeypatch.delitem(sys.modules, f"kling_async.orchestrator.ledger.{name}")
        monkeypatch.delattr(ledger, name)
    with pytest.raises(ConfigurationError, match=r"kling_async\[fleet\]"):
        Client(api_key="k", slots="postgresql://localhost/slots")


# -- ends


async def test_a_closed_client_leaves_its_tasks_to_the_others(dsn: str) -> None:
    """Its slots stay held until another client has seen the tasks ended; no connection is left."""
    async with clients(dsn, seconds=1.5) as (emu, (b,)):
        async with client_of(emu, dsn) as a:
            for n in range(2):
                await a.submit(clip(f"left behind {n}"))
        assert rows(dsn, "SELECT count(*) FROM kling_slots.owners") == [(0,)]
        await until(lambda: rows(dsn, CONNECTED) == [(0,)], 5)
        await asyncio.wait_for(b.run(clip("next")), 20)
        check(emu, 3)


async def test_a_dropped_client_leaves_the_ledger(dsn: str) -> None:
    """Without ``aclose()``, while slots are held: it is freed, and its connection closed."""
    async with clients(seconds=30.0) as (emu, _):
        client = client_of(emu, dsn)
        task = await client.submit(clip())
        await asyncio.sleep(0.3)
        held = weakref.ref(client._engine.limiter)
        del client, task

        def freed() -> bool:
            gc.collect()
            return held() is None and rows(dsn, "SELECT count(*) FROM kling_slots.owners") == [(0,)]

        await until(freed, 10)
        await until(lambda: rows(dsn, CONNECTED) == [(0,)], 5)


async def test_killed_and_stopped_workers_lose_nothing(dsn: str) -> None:
    """Processes of their own: one is killed, one stopped for longer than a lease; all is made once.

    The stopped one is dead to the others meanwhile, and comes back; the killed one's work is begun anew.
    """
    async with emulator(slots={"video": SLOTS, "image": 9}) as emu:
        emu.set_duration(1.0)
        workers = Workers(emu, dsn)
        try:
            for number in range(3):
                await workers.start(names_of(number, 8))
            await until(lambda: len(emu.ledger.creates) >= 8, 20)
            killed, stopped = workers.processes[:2]
            killed.kill()
            stopped.send_signal(signal.SIGSTOP)
            await workers.start(names_of(0, 8), if_exists="attach")
            await asyncio.sleep(6.5)
            stopped.send_signal(signal.SIGCONT)
            said = await asyncio.wait_for(workers.said(), 60)
        finally:
            await workers.end()
        assert [len(ended(lines)) for lines in said[1:]] == [8, 8, 8]
        check_account(emu, [name for number in range(3) for name in names_of(number, 8)])


async def test_a_server_may_be_named_by_names_and_values(dsn: str) -> None:
    """As libpq takes it: with a password that holds the sign of an account's name, which stays a password."""
    named = make_conninfo(dsn, password="no#name")
    assert "://" not in named
    async with clients(named, dsn) as (emu, (a, b)):
        await asyncio.wait_for(asyncio.gather(*(client.run(clip()) for client in (a, b, a))), 30)
        check(emu, 3)
    assert len(rows(dsn, HELD + " GROUP BY 1")) == 1


@pytest.mark.parametrize(
    "slots", ["hots=db password=hidden", "host=db password='hidden", "port=x password=hidden"]
)
async def test_names_and_values_that_are_wrong_are_not_shown(slots: str) -> None:
    """They are refused when the client is made."""
    with pytest.raises(ConfigurationError, match="slots") as caught:
        Client(api_key="key", slots=slots)
    assert "hidden" not in "".join(traceback.format_exception(caught.value))
