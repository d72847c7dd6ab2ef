"""kling_async/account.py: the ledgers of the account, read page by page."""

from __future__ import annotations

import datetime as dt

import pytest

from kling_async import RequestInvalid, v1
from tests.support import clip, pair, still

pytestmark = pytest.mark.anyio


async def test_the_ledger_has_an_entry_for_each_task_that_cost_something(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Over pages of two, in order; what failed is not in it; sums agree with what the tasks say."""
    monkeypatch.setattr("kling_async.account._PAGE", 2)
    async with pair(seconds=5) as (emu, client):
        start = dt.datetime.fromtimestamp(client._engine.home.now() - 60, dt.UTC)
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
    """Said before anything is asked."""
    async with pair() as (emu, client):
        now = dt.datetime.now(dt.UTC)
        with pytest.raises(RequestInvalid, match="since: needs a time zone"):
            client.account.ledger(now.replace(tzinfo=None))
        with pytest.raises(RequestInvalid, match="end_time"):
            await anext(client.account.ledger(now, now - dt.timedelta(days=1)))
        assert emu.ledger.rows == []


async def test_a_lost_page_is_asked_for_again() -> None:
    """It is a read in spite of its POST: a hiccup is not the caller's affair."""
    async with pair(seconds=5) as (emu, client):
        start = dt.datetime.fromtimestamp(client._engine.home.now() - 60, dt.UTC)
        await (await client.submit(clip())).wait()
        emu.fault("call", kind="lost_after", times=2)
        assert len([entry async for entry in client.account.ledger(start)]) == 1
