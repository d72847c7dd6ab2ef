"""Slots behind a limit that is wrong, shared, changing or unknown: the room that is really there is found."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from tests.support import clip, pair, settle, still, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from kling_async import Client
    from kling_async.account import PoolState
    from kling_async.testing import Emulator

pytestmark = pytest.mark.anyio

PAUSES = [1, 2, 4, 8, 16, 30, 30, 30]
JITTER = 0.25


@asynccontextmanager
async def submit_many(
    count: int, slots: int, limit: int | None, *, foreign: int = 0, seconds: float = 20_000
) -> AsyncIterator[tuple[Emulator, Client]]:
    """Submit so many at once on an account that has ``slots`` and is told ``limit``."""
    options = {} if limit is None else {"limits": {"video": limit}}
    async with pair(
        {"video": slots, "image": 9}, seconds=seconds, foreign={"video": foreign}, client=options
    ) as (server, client):
        if limit is None:  # and the packs cannot be read
            server.fault("costs", status=503, times=None)
        submits = [asyncio.create_task(client.run(clip())) for _ in range(count)]
        try:
            await settle(200)
            yield server, client
        finally:
            for submit in submits:
                submit.cancel()
            await asyncio.wait(submits)


def video(client: Client) -> PoolState:
    return client.account.limits()["video"]


def gaps(times: list[float]) -> list[float]:
    return [b - a for a, b in itertools.pairwise(times)]


def refused_at(emu: Emulator) -> list[float]:
    return [row.at for row in emu.ledger.creates if row.code == 1303]


def assert_paced(found: list[float]) -> None:
    """Check that pauses double from 1 s to 30 s, each up to a quarter longer, plus a round trip."""
    for gap, pause in zip(found, PAUSES, strict=False):
        assert pause <= gap <= pause * (1 + JITTER) + 0.5, found


async def test_a_first_burst_into_a_full_account_costs_one_round_of_refusals() -> None:
    """Told 5 slots, all of them somebody else's, five are refused at once, then one probe per pause."""
    async with submit_many(20, slots=5, limit=5, foreign=5) as (emu, client):
        await asyncio.sleep(100)
        times = refused_at(emu)
        assert times[4] - times[0] < 0.5 < times[5] - times[4]
        assert_paced(gaps(times[4:]))
        state = video(client)
        assert (state.held, state.foreign, state.queued) == (0, 5, 20)


async def test_a_limit_told_too_high_costs_no_more_than_that() -> None:
    """Told 20 slots where there are 5, fifteen are refused once, all five are used, the rest queue."""
    async with submit_many(40, slots=5, limit=20) as (emu, client):
        await asyncio.sleep(100)
        times = refused_at(emu)
        assert len([t for t in times if t < 0.5]) == 15
        assert_paced(gaps(times[14:]))
        assert (video(client).held, emu.ledger.used("video"), video(client).queued) == (5, 5, 35)


async def test_an_unknown_limit_is_found_upward() -> None:
    """From the default of 5 all 12 slots are found, then one probe goes per pause."""
    async with submit_many(40, slots=12, limit=None) as (emu, client):
        await until(lambda: emu.ledger.used("video") == 12, 120)
        assert (video(client).limit, video(client).source) == (12, "learned")
        await asyncio.sleep(200)
        assert_paced(gaps(refused_at(emu)))


async def test_foreign_room_that_is_given_back_is_taken_within_one_pause() -> None:
    """Three slots that another user frees after ten minutes are ours about 30 s later."""
    async with submit_many(20, slots=5, limit=5, foreign=3) as (emu, client):
        await asyncio.sleep(600)
        assert (emu.ledger.used("video"), video(client).foreign) == (2, 3)
        emu.set_foreign("video", 0)
        await asyncio.sleep(30 * (1 + JITTER) + 1)
        assert (emu.ledger.used("video"), video(client).foreign) == (5, 0)


async def test_a_limit_that_shrinks_and_grows_while_running_is_followed() -> None:
    """Behind one told 12, the true limits 12, 4 and 9 are never passed, and are used in the end."""
    async with submit_many(400, slots=12, limit=12, seconds=60) as (emu, client):
        assert emu.ledger.used("video") == 12
        emu.resize("video", 4)
        await asyncio.sleep(300)
        assert (emu.ledger.used("video"), video(client).held) == (4, 4)
        before = len(refused_at(emu))
        await asyncio.sleep(300)
        assert len(refused_at(emu)) - before <= 300 / 30 + 2
        emu.resize("video", 9)
        await asyncio.sleep(150)
        assert emu.ledger.used("video") == 9


async def test_no_caller_ever_sees_1303() -> None:
    """A hundred images of all sizes get through a pool of 9 that others use now and then."""
    async with pair({"image": 9, "video": 5}, seconds=20) as (emu, client):
        submits = [asyncio.create_task(client.run(still(n=1 + i % 9))) for i in range(100)]
        for foreign in itertools.islice(itertools.cycle((4, 0, 8, 0)), 12):
            emu.set_foreign("image", foreign)
            await asyncio.sleep(60)
        emu.set_foreign("image", 0)
        results = await asyncio.gather(*submits)
        assert [len(r.images) for r in results] == [1 + i % 9 for i in range(100)]
        assert refused_at(emu)
