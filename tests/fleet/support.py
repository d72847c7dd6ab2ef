"""Help for tests of the fleet: requests, and looks into the tables."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from kling_async import v1
from kling_async.fleet.database import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["film", "rows", "wait_until"]


def film(prompt: str, **fields: Any) -> v1.TextToVideo:
    """Return the request of a short film."""
    return v1.TextToVideo(prompt=prompt, model_name="kling-v2-6", **fields)


async def rows(dsn: str, query: str, *values: Any) -> Sequence[Any]:
    """Return the rows of a query."""
    async with connect(dsn) as db:
        return await (await db.execute(query.encode(), values)).fetchall()


async def wait_until(holds: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait until a condition holds that other processes bring about."""
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until
        await asyncio.sleep(0.02)
