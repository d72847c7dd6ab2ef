"""account.py: the ledgers of the account, read page by page."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Any

import pytest

from kling_async import BadResponse, Client, RequestInvalid, v1
from kling_async.testing import emulator
from tests.clock import new_event_loop
from tests.support import client_of, clip, pair, settle, still, until
from tests.wiretap import raw, serving

pytestmark = pytest.mark.anyio


async def test_the_ledger_has_an_entry_for_each_task_that_cost_something(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Entries come in order over several pages; failed tasks have none; sums agree with the tasks' own."""
    monkeypatch.setattr("kling_async.account.PAGE_SIZE_MAX", 2)
    async with pair(seconds=5) as (emu, client):
        start = dt.datetime.fromtimestamp(client._engine.scope.now() - 60, dt.UTC)
        tasks = [await client.submit(clip(f"no {n}")) for n in range(4)]
        tasks.append(await client.submit(still(n=3)))  # type: ignore[arg-type]
        emu.finish(tasks[0].id, "failed", "risk control")
        for task in tasks[1:]:
            await task.wait()
        entries = [entry async for entry in client.account.ledger(start)]
        assert [entry.task_id for entry in entries] == [task.id for task in tasks[1:]]
        assert sum(entry.deduction_amount for entry in entries) == 3 * 3 + 24
        videos = v1.BillingFilter(key="product_type", values=("video",))
        some = [entry async for entry in client.account.ledger(start, filters=[videos])]
        assert {entry.product_type for entry in some} == {"video"} and len(some) == 3
        assert [entry async for entry in client.account.ledger(start, of="balance")] == []


async def test_times_need_a_zone_and_an_order() -> None:
    """Wrong times are refused before anything is sent."""
    async with pair() as (emu, client):
        now = dt.datetime.now(dt.UTC)
        with pytest.raises(RequestInvalid, match="since: needs a time zone"):
            client.account.ledger(now.replace(tzinfo=None))
        with pytest.raises(RequestInvalid, match="end_time"):
            await anext(client.account.ledger(now, now - dt.timedelta(days=1)))
        assert emu.ledger.rows == []


async def test_a_lost_page_is_asked_for_again() -> None:
    """A ledger is a read in spite of its POST, so a lost page is asked for again."""
    async with pair(seconds=5) as (emu, client):
        start = dt.datetime.fromtimestamp(client._engine.scope.now() - 60, dt.UTC)
        await (await client.submit(clip())).wait()
        emu.fault("call", kind="lost_after", times=2)
        assert len([entry async for entry in client.account.ledger(start)]) == 1


def page(cursor: str, *entries: str, more: bool = True) -> bytes:
    """Return one page of a ledger as the vendor sends it."""
    detail = [{"task_id": entry, "deduction_amount": 1.0} for entry in entries]
    data: dict[str, Any] = {"result": {"detail": detail, "count": len(detail)}}
    data |= {"next_cursor": cursor, "has_more": more}
    return raw({"code": 0, "message": "ok", "request_id": "r", "data": data})


@pytest.mark.parametrize(
    ("pages", "read", "says"),
    [
        ([page("c", "1", "2"), page("c", "3")], "123", "'c' came a second time"),
        ([page("c"), page("c")], "", "'c' came a second time"),
        ([page("a", "1"), page("b", "2"), page("a", "3", "4"), page("b", "5")], "1234", "'a' came a second"),
        ([page("a", "1"), page("", "2")], "12", "the vendor says that there is more, but sent no cursor"),
        ([page(" ", "1")], "1", "the vendor says that there is more, but sent no cursor"),
    ],
)
async def test_a_ledger_that_leads_round_or_nowhere_is_an_error(
    pages: list[bytes], read: str, says: str
) -> None:
    """Each page is asked for once; after its entries the error says why there are no more."""
    start = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    async with (
        serving(*pages, page("", more=False)) as wire,
        Client(api_key="k" * 20, base_url=f"http://127.0.0.1:{wire.port}") as client,
    ):
        ledger = client.account.ledger(start, start + dt.timedelta(days=1))
        assert [(await anext(ledger)).task_id for _ in read] == list(read)
        for _ in range(2):
            with pytest.raises(BadResponse, match=says):
                await anext(ledger)
        assert len(wire.requests) == min(len(pages), 3)


async def test_a_ledger_ends_where_the_vendor_says_so() -> None:
    """Empty pages do not end it, and a last cursor is not followed."""
    start = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    pages = page("a", "1"), page("b"), page("b", "2", more=False)
    async with (
        serving(*pages) as wire,
        Client(api_key="k" * 20, base_url=f"http://127.0.0.1:{wire.port}") as client,
    ):
        found = [e.task_id async for e in client.account.ledger(start, start + dt.timedelta(days=1))]
        assert found == ["1", "2"] and len(wire.requests) == 3


def test_reopening_notices_that_the_loop_was_replaced(caplog: pytest.LogCaptureFixture) -> None:
    """In a new loop it admits nothing that queued in the old one: such a create cannot move on."""
    kept: list[Any] = []

    async def first() -> None:
        async with emulator() as emu:
            client = client_of(emu)
            emu.fault("create", code=1302, retry_after=1000)
            kept.extend([client, asyncio.ensure_future(client.submit(clip()))])
            await until(lambda: emu.ledger.creates and client.account.limits()["video"].queued)

    async def second() -> None:
        kept[0].account.reopen()
        await settle()
        limits = kept[0].account.limits()["video"]
        assert (limits.held, limits.queued) == (0, 0)
        await kept[0].aclose()

    old, new = new_event_loop(), new_event_loop()
    old.run_until_complete(first())
    new.run_until_complete(second())
    kept[1].cancel()
    old.run_until_complete(asyncio.gather(kept[1], return_exceptions=True))
    for loop in (old, new):  # as asyncio.run does: the sessions of a loop are closed by its generators
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
    assert not [r for r in caplog.records if r.levelname == "ERROR"]


async def test_costs_tell_the_sizes_of_the_pools() -> None:
    """After `costs()` the limits of all pools are known with their source; a caller's own limit stays."""
    slots = {"video": 7, "image": 12}
    async with pair(slots, client={"limits": {"image": 3}}) as (_, client):
        assert client.account.limits() == {}
        await client.account.costs()
        limits = client.account.limits()
        assert {name: (pool.limit, pool.source) for name, pool in limits.items()} == {
            "video": (7, "packs"),
            "image": (3, "caller"),
            "virtual_try_on": (1, "default"),
        }
        await asyncio.sleep(2)
        await client.account.costs("no such pack")
        assert client.account.limits() == limits
