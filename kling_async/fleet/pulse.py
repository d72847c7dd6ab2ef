"""The pulse of a worker: its sign of life every second, the server's time, and the rescue of others' jobs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import platform
import time
import uuid
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import psycopg

from kling_async.errors import ConfigurationError
from kling_async.fleet.database import server_time
from kling_async.fleet.link import OUTAGE, DatabaseLink
from kling_async.fleet.rescue import PRESENCE, STALLED, Rescue
from kling_async.fleet.schema import MIGRATIONS
from kling_async.runtime.boot_time import boot_time

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg import AsyncConnection

    from kling_async.fleet.link import OutageLog

__all__ = ["BEAT", "Pulse", "ServerClock"]

log = logging.getLogger("kling_async.fleet")

BEAT: Final = 1.0
"""Seconds between two heartbeats."""
_EXACT: Final = 0.25
"""Seconds of a round trip up to which the clock is set by it again."""
_NEW: Final = "INSERT INTO procrastinate_workers DEFAULT VALUES RETURNING id"
_BEAT: Final = """
    WITH alive AS (
        INSERT INTO procrastinate_workers (id) OVERRIDING SYSTEM VALUE VALUES (%(id)s)
        ON CONFLICT (id) DO UPDATE SET last_heartbeat=now()),
    shown AS (
        INSERT INTO workers (token, name, concurrency, running, version)
        VALUES (%(token)s, %(name)s, %(capacity)s, %(running)s, %(version)s)
        ON CONFLICT (token) DO UPDATE
        SET beat=now(), concurrency=excluded.concurrency, running=excluded.running)
    SELECT extract(epoch FROM clock_timestamp())::double precision, (SELECT oldest_reader FROM schema)"""
_GONE: Final = """
    WITH shown AS (DELETE FROM workers WHERE token=%s) DELETE FROM procrastinate_workers WHERE id=%s"""


class ServerClock:
    """Time as the database's server has it, so that the clocks of the machines do not matter."""

    def __init__(self) -> None:
        self._ahead: float | None = None
        """Seconds by which the server's wall clock is ahead of the machine's boot time."""

    def seen(self, server: float, before: float, after: float) -> None:
        """Set the clock by a time that the server told between two moments of `boot_time`."""
        if self._ahead is None or after - before <= _EXACT:
            self._ahead = server - (before + after) / 2

    async def set(self, db: AsyncConnection[Any]) -> None:
        """Ask the server for its time, and set the clock by it."""
        before = boot_time()
        self.seen(await server_time(db), before, boot_time())

    def now(self) -> float:
        """Return the seconds since 1970."""
        return time.time() if self._ahead is None else boot_time() + self._ahead


class Pulse:
    """Beats while a worker lives, also while it drains.

    Args:
        dsn: The database.
        outages: Told of outages.
        counts: Returns how many jobs the worker has, and how many it may have.
        on_outdated: Called when the tables have come to need a newer program than this one.
    """

    def __init__(
        self,
        dsn: str,
        outages: OutageLog,
        counts: Callable[[], tuple[int, int]],
        on_outdated: Callable[[], object],
    ) -> None:
        self._link = DatabaseLink(dsn, outages, ready=self._show_presence)
        self._counts = counts
        self._on_outdated = on_outdated
        self.name = f"{platform.node()}:{os.getpid()}"
        """The worker, as people see it."""
        self.clock = ServerClock()
        self.id = 0
        """The worker's number among procrastinate's workers; 0: it was not entered yet."""
        self._token = uuid.uuid4().hex
        self._rescue = Rescue(0)
        self._beating: asyncio.Task[None] | None = None
        self._latest = -math.inf

    @property
    def entered(self) -> bool:
        """Whether the worker was entered among those that live."""
        return self._beating is not None

    @property
    def alive(self) -> bool:
        """Whether its heart was heard lately: others do not take the worker for dead soon."""
        # not GONE, for which its connection must have ended, too: a busy machine beats late
        return boot_time() - self._latest < STALLED - BEAT

    async def start(self) -> None:
        """Enter the worker, and let its heart beat."""
        (self.id,) = await self._link.patient(_new_number)
        self._rescue.own = self.id
        await self._link.close()  # the next connection shows the presence of that number
        await self.register()
        self._beating = asyncio.create_task(self._beat(), name="kling_async fleet pulse")

    async def register(self) -> None:
        """Beat once, now: whoever was taken for dead is entered again."""
        await self._link.patient(self._beat_once)

    async def close(self) -> None:
        """Leave; its jobs, if any, are put back by others at once."""
        if self._beating is not None:
            self._beating.cancel()
            await asyncio.wait([self._beating])
        with contextlib.suppress(psycopg.Error, ConfigurationError):
            await self._link.once(self._leave)
        await self._link.close()

    async def _beat(self) -> None:
        """Beat each second; between two beats look once more for jobs of dead workers."""
        due, beats, told = time.monotonic(), False, ""
        while True:
            due = max(due + BEAT / 2, time.monotonic())
            await asyncio.sleep(due - time.monotonic())
            beats = not beats
            try:
                if beats:
                    await self.register()
            except OUTAGE:  # the program ends
                return
            except (psycopg.Error, ConfigurationError) as error:  # somebody may mend the database
                if str(error) != told:
                    told = str(error)
                    log.warning("worker %s cannot show that it lives: %s", self.name, told)
                continue
            await self._rescue_jobs(whole=beats)

    async def _rescue_jobs(self, *, whole: bool) -> None:
        """Put back the jobs of workers that are dead."""
        # after an outage the others' hearts are not heard yet: nobody is dead for that
        if time.monotonic() - self._link.outages.latest > STALLED:
            try:
                await self._link.once(partial(self._rescue.step, whole=whole))
            except psycopg.Error as error:  # what it did is undone, and done again soon
                log.info("the rescue of stalled jobs was cut short: %s", error)

    async def _beat_once(self, db: AsyncConnection[Any]) -> None:
        running, capacity = self._counts()
        facts = {"id": self.id, "token": self._token, "name": self.name, "version": len(MIGRATIONS)}
        before = boot_time()
        answer = await db.execute(_BEAT, {**facts, "running": running, "capacity": capacity})
        row = await answer.fetchone()
        assert row is not None  # noqa: S101 - a query without a condition
        now, oldest_reader = row
        self.clock.seen(now, before, boot_time())
        self._latest = before
        if oldest_reader > len(MIGRATIONS):
            self._on_outdated()

    async def _show_presence(self, db: AsyncConnection[Any]) -> None:
        """Hold a lock that ends with the connection, and thus with the process."""
        if self.id:
            await db.execute("SELECT pg_try_advisory_lock_shared(%s, %s)", (PRESENCE, self.id % (1 << 31)))

    async def _leave(self, db: AsyncConnection[Any]) -> None:
        await db.execute(_GONE, (self._token, self.id))


async def _new_number(db: AsyncConnection[Any]) -> tuple[int]:
    row = await (await db.execute(_NEW)).fetchone()
    assert row is not None  # noqa: S101 - it was inserted
    return (row[0],)
