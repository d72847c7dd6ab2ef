"""Slots behind a limit that is wrong, shared, changing or unknown: the room that is really there is found.

The emulator's ledger is the judge: what was refused, when, and how many tasks ran at every moment.
"""

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
    """So many submits at once on an account that has ``slots``, told ``limit``."""
    options = {} if limit is None else {"limits": {"video": limit}}
    async with pair(
        {"video": slots, "image": 9}, seconds=seconds, foreign={"video": foreign}, client=options
    ) as (server, client):
        if limit is None:  # and the packs cannot be read
            server.fault("costs", status=503, times=None)
        jobs = [asyncio.create_task(client.run(clip())) for _ in range(count)]
        try:
            await settle(200)
            yield server, client
        finally:
            for job in jobs:
                job.cancel()
            await asyncio.wait(jobs)


def video(client: Client) -> PoolState:
    return client.account.limits()["video"]


def gaps(times: list[float]) -> list[float]:
    return [b - a for a, b in itertools.pairwise(times)]


def refused_at(emu: Emulator) -> list[float]:
    return [row.at for row in emu.ledger.creates if row.code == 1303]


def assert_paced(found: list[float]) -> None:
    """Pauses double from 1 s to 30 s, each longer by chance by up to a quarter, a round trip on top."""
    for gap, pause in zip(found, PAUSES, strict=False):
        assert pause <= gap <= pause * (1 + JITTER) + 0.5, found


async def test_a_first_burst_into_a_full_account_costs_one_round_of_refusals() -> None:
    """Told 5, all of them somebody else's: five refusals at once, then one probe a pause, 1 s to 30 s."""
    async with submit_many(20, slots=5, limit=5, foreign=5) as (emu, client):
        await asyncio.sleep(100)
        times = refused_at(emu)
        assert times[4] - times[0] < 0.5 < times[5] - times[4]
        assert_paced(gaps(times[4:]))
        state = video(client)
        assert (state.held, state.foreign, state.queued) == (0, 5, 20)


async def test_a_limit_told_too_high_costs_no_more_than_that() -> None:
    """Told 20 where there are 5: fifteen are refused once, all five slots are used, the rest queue."""
    async with submit_many(40, slots=5, limit=20) as (emu, client):
        await asyncio.sleep(100)
        times = refused_at(emu)
        assert len([t for t in times if t < 0.5]) == 15
        assert_paced(gaps(times[14:]))
        assert (video(client).held, emu.ledger.used("video"), video(client).queued) == (5, 5, 35)


async def test_an_unknown_limit_is_found_upward() -> None:
    """Nobody tells (the packs cannot be read), 12 slots: started at 5, all 12 run, then one probe a pause."""
    async with submit_many(40, slots=12, limit=None) as (emu, client):
        await until(lambda: emu.ledger.used("video") == 12, 120)
        assert (video(client).limit, video(client).source) == (12, "learned")
        await asyncio.sleep(200)
        assert_paced(gaps(refused_at(emu)))


async def test_foreign_room_that_is_given_back_is_taken_within_one_pause() -> None:
    """Three of five slots are another's for ten minutes: when they come free they are ours in 30 s or so."""
    async with submit_many(20, slots=5, limit=5, foreign=3) as (emu, client):
        await asyncio.sleep(600)
        assert (emu.ledger.used("video"), video(client).foreign) == (2, 3)
        emu.set_foreign("video", 0)
        await asyncio.sleep(30 * (1 + JITTER) + 1)
        assert (emu.ledger.used("video"), video(client).foreign) == (5, 0)


async def test_a_limit_that_shrinks_and_grows_while_running_is_followed() -> None:
    """12 to 4 to 9 behind one told 12: never more than are there, and all that are there in the end."""
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
    """A hundred images of all sizes through a pool of 9 that others use now and then: all come out."""
    async with pair({"image": 9, "video": 5}, seconds=20) as (emu, client):
        jobs = [asyncio.create_task(client.run(still(n=1 + i % 9))) for i in range(100)]
        for foreign in itertools.islice(itertools.cycle((4, 0, 8, 0)), 12):
            emu.set_foreign("image", foreign)
            await asyncio.sleep(60)
        emu.set_foreign("image", 0)
        results = await asyncio.gather(*jobs)
        assert [len(r.images) for r in results] == [1 + i % 9 for i in range(100)]
        assert refused_at(emu)
