"""What tests of batches share: a batch run to its end, and what the vendor made for it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from kling_async import Client
    from kling_async.testing import Emulator


async def rest(results: Any) -> list[Any]:
    """All outcomes that are still to come, by position; fails where the batch never ends."""

    async def all_of_them() -> list[Any]:
        return [outcome async for outcome in results]

    return sorted(await asyncio.wait_for(all_of_them(), 100_000), key=lambda o: o.position)


async def go(client: Client, requests: Any, folder: Path | None = None, **options: Any) -> list[Any]:
    """Run a batch to its end, with a journal in a folder if one is named; outcomes by position."""
    found, _ = await told(client, requests, folder, **options)
    return found


async def told(
    client: Client, requests: Any, folder: Path | None = None, **options: Any
) -> tuple[list[Any], Any]:
    """As `go`; the report besides."""
    if folder is not None:
        options["journal"] = folder / "jobs.sqlite"
    async with client.batch(requests, **options) as results:
        found = await rest(results)
    return found, results.report


def creates(emu: Emulator) -> int:
    """How many creates the emulator accepted."""
    return len([row for row in emu.ledger.creates if row.code == 0])
