"""Carry jobs whose rows are scripted: a job that another worker has taken is not made here, however late."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kling_async.batch.budget import BatchControl, Budget
from kling_async.batch.entry import Entry
from kling_async.batch.exclusions import Exclusions
from kling_async.batch.lifecycle import BatchLife
from kling_async.batch.pausing import PauseSwitch
from kling_async.fleet import journal
from kling_async.fleet.carrying import Carrier
from kling_async.fleet.journal import JournalWriter, StaleFence
from kling_async.fleet.rows import StoredJob
from kling_async.fleet.taking import TakenJob
from kling_async.orchestrator.ledger.facts import LEASE
from tests.clock import new_event_loop
from tests.fleet.support import film
from tests.orchestrator.test_first_byte import SECONDS, SlowConnector
from tests.support import pair, until

if TYPE_CHECKING:
    from kling_async import Client
    from kling_async.fleet.journal import FencedPut
    from kling_async.testing import Emulator


class Rows:
    """Rows of jobs, in place of a database.

    Args:
        emu: The server.
        waits: Seconds that each write takes.
        taken: At which write the job is another worker's; None: never.
    """

    def __init__(self, emu: Emulator, waits: list[float], taken: int | None) -> None:
        self._emu = emu
        self._waits = waits
        self._taken = taken
        self.writes = 0
        self.written = -float("inf")
        """When the last write began that found the job here."""
        self.sent: int | None = None
        """Creates that the server had seen when the job was found taken."""

    def put(self, put: FencedPut) -> asyncio.Future[None]:
        """Write an entry."""
        return asyncio.ensure_future(self._put())

    async def _put(self) -> None:
        began, number = asyncio.get_running_loop().time(), self.writes
        self.writes += 1
        await asyncio.sleep(self._waits.pop(0) if self._waits else 0.0)
        if self._taken is not None and number >= self._taken:
            if self.sent is None:
                self.sent = len(self._emu.ledger.creates)
            raise StaleFence("another worker has this job", path="")
        self.written = began


def carrier_of(client: Client, rows: Rows) -> Carrier:
    """Return what carries jobs with these rows."""
    control = BatchControl(BatchLife(), Budget(None), Exclusions(10))
    writer = cast("JournalWriter", rows)
    return Carrier(client._engine, writer, control, PauseSwitch(client._engine.scope), out=None, retries=0)


def new_job() -> TakenJob:
    """Return a job for which nothing was done yet."""
    entry = Entry(identity="0" * 31 + "1", position=0, endpoint="text_to_video", external_task_id="job-1")
    return TakenJob("batch", StoredJob(entry, film("a shot"), 1), 0)


@given(
    lost=st.integers(0, 2),
    delays=st.lists(SECONDS, max_size=5),
    waits=st.lists(SECONDS, max_size=5),
    taken=st.none() | st.integers(0, 5),
)
@settings(max_examples=60)
def test_a_create_is_sent_only_while_the_fence_is_known_to_hold(
    lost: int, delays: list[float], waits: list[float], taken: int | None
) -> None:
    """However long connections and writes take, and whenever another worker takes the job."""

    async def run() -> None:
        loop, connector = asyncio.get_running_loop(), SlowConnector(list(delays))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(journal, "boot_time", loop.time)
            async with (
                aiohttp.ClientSession(connector=connector) as session,
                pair({"video": 2}, client={"session": session, "limits": {"video": 2}}) as (emu, client),
            ):
                if lost:
                    emu.fault("create", kind="lost_before", times=lost)
                rows, ages = Rows(emu, list(waits), taken), list[float]()
                _watch(client, lambda: ages.append(loop.time() - rows.written))
                left = await carrier_of(client, rows).carry(new_job())
                assert left is None
                assert all(age <= LEASE for age in ages)
                if rows.sent is None:
                    assert len(emu.tasks) == 1
                else:
                    assert len(emu.ledger.creates) == rows.sent
                assert len(emu.ledger.creates) == len(ages)
                names = {row.external_task_id for row in emu.ledger.creates}
                assert names <= {"job-1"}

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(run())


def _watch(client: Client, on_first_byte: Any) -> None:
    """Call a function at the first byte of each create, after the client's own check."""
    transport: Any = client._engine.transport
    send = transport._send

    async def watched(*args: Any, check: Any = None, **options: Any) -> Any:
        def checked() -> None:
            check()
            on_first_byte()

        return await send(*args, check=None if check is None else checked, **options)

    transport._send = watched


@pytest.mark.anyio
async def test_a_network_that_connects_too_slowly_is_told() -> None:
    """Each connection takes longer than a create may wait for it: the job goes back, with that reason."""
    connector = SlowConnector([LEASE + 1] * 1000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal, "boot_time", asyncio.get_running_loop().time)
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            pair({"video": 2}, client={"session": session, "limits": {"video": 2}}) as (emu, client),
        ):
            rows = Rows(emu, [], None)
            carrying = asyncio.create_task(carrier_of(client, rows).carry(new_job()))
            await until(lambda: client.stats().queued > 0 and connector.connected >= 10, 600)
            assert not emu.ledger.creates
            carrying.cancel()
            await asyncio.wait([carrying])
