"""Test orchestrator/submitter.py: no first byte of a create once its lease is no longer sure."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kling_async.core.queue import Phase
from tests.clock import new_event_loop
from tests.support import clip, pair

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from kling_async import Client
    from kling_async.core.queue import Ticket
    from kling_async.testing import Emulator

HALF = 2.5
"""Seconds of half a lease."""


class SlowConnector(aiohttp.TCPConnector):
    """Takes its time to connect, as TLS and proxies do."""

    def __init__(self, delays: list[float]) -> None:
        super().__init__(force_close=True)
        self.delays = delays
        self.connected = 0

    async def connect(self, *args: Any, **options: Any) -> Any:
        """Connect after the next of the delays."""
        self.connected += 1
        await asyncio.sleep(self.delays.pop(0) if self.delays else 0.0)
        return await super().connect(*args, **options)


class Lease:
    """A lease whose heartbeats are scripted, in place of a ledger's.

    Args:
        client: Gets it.
        waits: Seconds that each confirmation takes: it is a heartbeat.
        lapses: Whether the slots have gone to others at each confirmation.
    """

    def __init__(self, client: Client, waits: list[float], lapses: list[bool]) -> None:
        limiter: Any = client._engine.limiter
        self._waits = waits
        self._lapses = lapses
        self.until = HALF
        self.confirmed = 0
        limiter.send_by, limiter.confirm = self.send_by, self.confirm

    def send_by(self, ticket: Ticket) -> float:
        """Return the end of the half lease."""
        return self.until

    async def confirm(self, ticket: Ticket) -> bool:
        """Beat, and tell whose slots these are."""
        self.confirmed += 1
        began = asyncio.get_running_loop().time()
        await asyncio.sleep(self._waits.pop(0) if self._waits else 0.0)
        self.until = began + HALF
        lapsed = bool(self._lapses and self._lapses.pop(0))
        return ticket.phase is Phase.SENT and not lapsed


@asynccontextmanager
async def leased(
    delays: list[float], waits: list[float], lapses: list[bool]
) -> AsyncIterator[tuple[Emulator, Client, Lease, SlowConnector]]:
    """Run an emulator, and a client with slow connections and a scripted lease."""
    connector = SlowConnector(delays)
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        pair({"video": 2}, client={"session": session, "limits": {"video": 2}}) as (emu, client),
    ):
        yield emu, client, Lease(client, waits, lapses), connector


SECONDS = st.sampled_from([0.0, 1.0, 2.4, 2.6, 4.0, 30.0])


@given(
    delays=st.lists(SECONDS, max_size=6),
    waits=st.lists(SECONDS, max_size=6),
    lapses=st.lists(st.booleans(), max_size=3),
)
@settings(max_examples=60)
def test_no_first_byte_comes_late_and_each_create_is_made_once(
    delays: list[float], waits: list[float], lapses: list[bool]
) -> None:
    """However long connections and heartbeats take, and whoever gets the slots meanwhile."""

    async def run() -> None:
        async with leased(list(delays), list(waits), list(lapses)) as (emu, client, lease, _):
            late: list[float] = []
            create = client._engine.transport._send

            async def send(*args: Any, check: Any = None, **options: Any) -> Any:
                def checked() -> None:
                    if check is not None:
                        check()
                        late.append(asyncio.get_running_loop().time() - lease.until)

                return await create(*args, check=None if check is None else checked, **options)

            transport: Any = client._engine.transport
            transport._send = send
            tasks = await asyncio.gather(*(client.submit(clip(f"film {n}")) for n in range(3)))
            await asyncio.gather(*(task.wait() for task in tasks))
            assert max(late) <= 0
            names = [row.external_task_id for row in emu.ledger.creates]
            assert len(names) == len(set(names)) == len(emu.ledger.created) == 3
            assert client.account.limits()["video"].held == 0

    loop = new_event_loop()
    try:
        loop.run_until_complete(run())
    finally:
        loop.close()


@pytest.mark.anyio
async def test_a_create_that_is_late_is_sent_once_the_ledger_was_reached() -> None:
    """A connection of 3 s outlives half a lease: the next heartbeat lets the create go, over a new one."""
    async with leased([3.0], [], []) as (emu, client, _, connector):
        await client.submit(clip())
        assert connector.connected >= 2
        assert len(emu.ledger.creates) == 1


@pytest.mark.anyio
async def test_what_was_put_off_has_sent_nothing() -> None:
    """Put off and then withdrawn, a create leaves no doubt: nothing was sent, nothing is looked up."""
    async with leased([3.0], [0.0, 3600.0], []) as (emu, client, _, _):
        task = await client.enqueue(clip())
        await asyncio.sleep(60)
        assert task.withdraw()
        with pytest.raises(Exception, match="withdrawn"):
            await task.accepted()
        await asyncio.sleep(7200)
        assert not emu.ledger.rows or all(row.kind != "create" for row in emu.ledger.rows)
        assert not client.unresolved()


@pytest.mark.anyio
async def test_a_repetition_of_a_lost_create_keeps_to_it_too() -> None:
    """Looked up in vain, a create goes out again; late for its lease, it waits for the ledger first."""
    async with leased([], [], []) as (emu, client, lease, _):
        emu.fault("create", kind="lost_before")
        task = await client.submit(clip())
        assert lease.confirmed == 2
        assert len(emu.ledger.created) == 1
        assert task.id in emu.tasks
