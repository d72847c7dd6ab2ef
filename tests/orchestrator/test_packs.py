"""orchestrator/packs.py: the account's packs are read seldom, and never in the way."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any

import pytest

from kling_async import APIError, OutOfUnits, RequestInvalid
from kling_async.testing import Pack
from tests.support import clip, pair, settle, still, until

if TYPE_CHECKING:
    from kling_async import Client

pytestmark = pytest.mark.anyio


def told(client: Client) -> dict[str, tuple[int, str]]:
    return {name: (state.limit, state.source) for name, state in client.account.limits().items()}


async def test_the_first_submit_reads_them_and_does_not_wait() -> None:
    """Rule 4: one request in the background, whose answer sets the limits."""
    async with pair({"video": 12, "image": 9}) as (emu, client):
        emu.fault("costs", kind="slow", seconds=20)
        await client.submit(clip())
        assert told(client)["video"] == (5, "default")
        await asyncio.sleep(21)
        assert told(client)["video"] == (12, "packs")
        await client.submit(clip())
        assert len(emu.ledger.costs) == 1


async def test_a_limit_the_caller_gave_is_not_asked_for() -> None:
    """Rule 4: an explicit limit wins, and saves the request."""
    async with pair({"video": 12, "image": 9}, client={"limits": {"video": 2}}) as (emu, client):
        await client.submit(clip())
        await settle()
        assert emu.ledger.costs == [] and told(client)["video"] == (2, "caller")
        await client.submit(still())
        await until(lambda: emu.ledger.costs)
        assert told(client)["video"] == (2, "caller")


@pytest.mark.parametrize(
    "fault",
    [
        {"code": 1302},
        {"code": 5000},
        {"kind": "html"},
        {"kind": "half_body"},
        {"code": 1201, "message": "not found"},
        {"kind": "wrong_types", "value": []},
    ],
)
async def test_packs_that_cannot_be_read_change_nothing(fault: dict[str, Any]) -> None:
    """The careful default stays and is searched upward; the next reading follows after a minute."""
    async with pair({"video": 12}, seconds=200) as (emu, client):
        emu.fault("costs", **fault)
        runs = [asyncio.create_task(client.run(clip())) for _ in range(14)]
        await asyncio.sleep(30)
        assert len(emu.ledger.costs) == 1 and len(emu.ledger.created) == 12
        await asyncio.sleep(40)
        assert len(emu.ledger.costs) == 2 and told(client)["video"] == (12, "packs")
        await asyncio.gather(*runs)


async def test_read_every_ten_minutes_while_somebody_queues() -> None:
    """Rule 4: packs are not read while nobody queues."""
    async with pair({"video": 1}, seconds=3000) as (emu, client):
        await client.submit(clip())
        queued = asyncio.create_task(client.submit(clip()))
        await asyncio.sleep(1805)
        assert len(emu.ledger.costs) == 4
        queued.cancel()
        await asyncio.sleep(5000)
        assert len(emu.ledger.costs) == 4


async def test_read_when_a_pack_ends_or_begins() -> None:
    """Rule 4: read when a pack that counts ends or a bought one begins; without packs 1 is guessed."""
    packs = [
        Pack(name="Trial-Video-100Units-5Con-1Months", effective=-100, invalid=1000),
        Pack(name="Big-Video-100Units-20Con-1Months", effective=500, invalid=1000),
    ]
    async with pair({"video": 20}, packs=packs, seconds=10) as (emu, client):
        await client.submit(clip())
        await until(lambda: told(client)["video"] == (5, "packs"))
        await asyncio.sleep(505)
        assert told(client)["video"] == (20, "packs")
        await asyncio.sleep(505)
        assert told(client)["video"] == (1, "default")
        assert len(emu.ledger.costs) == 3


async def test_read_after_the_units_ran_out_and_on_reopen() -> None:
    """Rule 4: read after 1102 and on `reopen`, at most once a second."""
    async with pair({"video": 5}) as (emu, client):
        emu.units["video"] = 0
        for _ in range(2):
            with pytest.raises(OutOfUnits):
                await client.submit(clip())
            client.account.reopen()
        await asyncio.sleep(5)
        times = [row.at for row in emu.ledger.costs]
        assert len(times) >= 2
        assert min(b - a for a, b in itertools.pairwise(times)) >= 1
        assert all(row.code == 0 for row in emu.ledger.costs)


async def test_what_queues_and_can_never_fit_fails_when_the_size_is_known() -> None:
    """Rule 4: a set of 9 that queues fails when the account turns out to have 4 slots."""
    async with pair({"image": 4}, foreign={"image": 4}) as (_, client):
        with pytest.raises(RequestInvalid, match="has 4 in all"):
            await client.submit(still(n=9))


async def test_costs_are_shown_and_their_inner_refusal_raised() -> None:
    """account.costs() gives the packs; a second envelope that refuses is an error."""
    async with pair({"video": 7}) as (emu, client):
        costs = await client.account.costs()
        assert any("7Con" in pack.resource_pack_name for pack in costs.packs)
        emu.fault("costs", kind="wrong_types", value={"code": 1000, "msg": "inner"})
        await asyncio.sleep(2)
        with pytest.raises(APIError, match="inner"):
            await client.account.costs()
        await asyncio.sleep(2)
        named = await client.account.costs(resource_pack_name=costs.packs[0].resource_pack_name)
        assert len(named.packs) == 1


async def test_closing_ends_the_reading() -> None:
    """No timer is left, and nothing is sent afterwards."""
    async with pair({"video": 1}, seconds=1000) as (emu, client):
        await client.submit(clip())
        await settle()
        await client.aclose()
        client._engine.packs.units_changed()
        asked = len(emu.ledger.costs)
        await asyncio.sleep(3000)
        assert len(emu.ledger.costs) == asked
