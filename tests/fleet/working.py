"""Help for tests of workers: an emulator, clients of it that ask often, and workers in this process."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import TYPE_CHECKING, Any

from kling_async import Client, Polling
from kling_async.fleet import Fleet
from kling_async.testing import Emulator, emulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from kling_async.batch.outcomes import Outcome
    from kling_async.fleet.worker import FleetWorker

__all__ = ["at_work", "new_client", "read", "site"]


async def read(fleet: Fleet, batch: str = "films", seconds: float = 60.0) -> list[Outcome[Any]]:
    """Return all outcomes of a batch, once they are there."""
    async with asyncio.timeout(seconds):
        return [outcome async for outcome in fleet.results(batch)]


def new_client(emu: Emulator, **options: Any) -> Client:
    """Make a client that asks often."""
    options = {"polling": Polling(min_interval=0.1, max_interval=0.3), **options}
    given: dict[str, Any] = {"base_url": emu.url, "api_key": emu.api_key, "rng": random.Random(7), **options}
    return Client(**given)


@contextlib.asynccontextmanager
async def site(
    dsn: str, *, slots: int = 4, seconds: float = 0.5, **more: int
) -> AsyncIterator[tuple[Fleet, Emulator]]:
    """Make a fleet without jobs, and an emulator whose tasks take so long."""
    await Fleet(dsn).init()
    async with emulator(slots={"video": slots, **more}) as emu, Fleet(dsn) as fleet:
        emu.set_duration(seconds)
        yield fleet, emu


@contextlib.asynccontextmanager
async def at_work(
    fleet: Fleet, emu: Emulator, *, client: Client | dict[str, Any] | None = None, **options: Any
) -> AsyncIterator[FleetWorker]:
    """Run a worker for a while; what it runs then is left."""
    started: asyncio.Future[FleetWorker] = asyncio.get_running_loop().create_future()
    async with client if isinstance(client, Client) else new_client(emu, **(client or {})) as made:
        work = fleet.work(made, signals=False, on_start=started.set_result, **options)
        running = asyncio.create_task(work)
        both: list[asyncio.Future[Any]] = [running, started]
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        try:
            yield started.result()
            assert not running.done() or running.exception() is None
        finally:
            if started.done():
                started.result().leave()
            await running
