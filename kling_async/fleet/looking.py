"""Look at a fleet again and again: a snapshot each second, through outages of the database."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import psycopg

from kling_async.errors import ConfigurationError
from kling_async.fleet.database import connect, refusals, telling_line
from kling_async.fleet.link import DatabaseLink, OutageLog
from kling_async.fleet.schema import need_fleet_tables
from kling_async.fleet.status import FleetReader

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from psycopg import AsyncConnection

    from kling_async.fleet.status import FleetStatus

__all__ = ["EVERY", "Look", "look_once", "looks"]

EVERY: Final = 1.0
"""Seconds between two snapshots."""


class Look(NamedTuple):
    """One look at the fleet."""

    status: FleetStatus | None
    """The latest snapshot; None: there was none yet."""
    away: str = ""
    """Why the database cannot be read now; empty: it can, and the snapshot is of this moment."""
    seconds: float = 0.0
    """For how long it could not be read."""


async def look_once(dsn: str) -> FleetStatus:
    """Return a snapshot.

    Raises:
        ConfigurationError: The server cannot be reached, or its tables are of another version.
    """
    with refusals(dsn, entering=True):
        async with connect(dsn) as db:
            await need_fleet_tables(db)
            return await FleetReader().read(db)


async def looks(dsn: str, every: float = EVERY) -> AsyncGenerator[Look, None]:
    """Yield a look each second, with one connection that is made anew after each outage. It does not end.

    Args:
        dsn: The database.
        every: Seconds between two looks.
    """
    loop = asyncio.get_running_loop()
    link = DatabaseLink(dsn, OutageLog(dsn, "what is shown is old"), ready=_ready)
    reader, latest, seen = FleetReader(), None, loop.time()
    try:
        while True:
            due = loop.time() + every
            try:
                latest, away = await link.once(reader.read), ""
                seen = loop.time()
            except (psycopg.Error, ConfigurationError) as error:
                if isinstance(error, psycopg.Error):
                    link.outages.began(link, error)
                away = telling_line(error)
            yield Look(latest, away, loop.time() - seen)
            await asyncio.sleep(max(0.0, due - loop.time()))
    finally:
        with contextlib.suppress(psycopg.Error):
            await link.close()


async def _ready(db: AsyncConnection[Any]) -> None:
    await need_fleet_tables(db)
