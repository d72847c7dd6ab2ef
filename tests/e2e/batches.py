"""Helpers for tests of batches: run one to its end, count the creates."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from kling_async import Client
    from kling_async.testing import Emulator


async def remaining(results: Any) -> list[Any]:
    """Return the outcomes still to come, by position; fail if the batch never ends."""

    async def all_of_them() -> list[Any]:
        return [outcome async for outcome in results]

    return sorted(await asyncio.wait_for(all_of_them(), 100_000), key=lambda o: o.position)


async def run_batch(client: Client, requests: Any, folder: Path | None = None, **options: Any) -> list[Any]:
    """Run a batch to its end, with a journal in the folder, if any; return outcomes by position."""
    found, _ = await run_and_report(client, requests, folder, **options)
    return found


async def run_and_report(
    client: Client, requests: Any, folder: Path | None = None, **options: Any
) -> tuple[list[Any], Any]:
    """Run a batch to its end as `run_batch` does; return the report too."""
    if folder is not None:
        options["journal"] = folder / "jobs.sqlite"
    async with client.batch(requests, **options) as results:
        found = await remaining(results)
    return found, results.report


def creates(emu: Emulator) -> int:
    """Return how many creates the emulator accepted."""
    return len([row for row in emu.ledger.creates if row.code == 0])
